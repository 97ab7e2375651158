"""The list of methods: one line each. Importing it costs no torch, so that `ulfine fit -h` stays instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UsageError

if TYPE_CHECKING:
    from ulfine_fast.elsewhere.found_method import Origin
    from ulfine_fast.method import Method
    from ulfine_fast.models.logit_model import LogitModel


@dataclass(frozen=True)
class Entry:
    """Where a method lives and what it is.

    Attributes:
        module: Module under `ulfine_fast.methods`, with the name of its `Method` after a colon.
        summary: One line for people who choose.
    """

    module: str
    summary: str


METHODS: dict[str, Entry] = {
    "zero-shot": Entry("zero_shot:METHOD", "similarity to the text prototypes; nothing is trained"),
    "lp": Entry("lp:METHOD", "linear probe, plain cross-entropy"),
    "lp-la": Entry("lp_la:METHOD", "linear probe from the text prototypes, logit-adjusted"),
    "lft": Entry("lft:METHOD", "residual adapter and cosine head, plain cross-entropy"),
    "lift": Entry("lift:METHOD", "residual adapter and cosine head, logit-adjusted"),
    "fixmatch": Entry("fixmatch:METHOD", "the head of lp-la with FixMatch's pseudo-labels of unlabelled images"),
    "tip-adapter": Entry("tip_adapter:METHOD", "zero-shot and a cache of labelled images; nothing is trained"),
    "tip-adapter-f": Entry("tip_adapter_f:METHOD", "tip-adapter whose cache keys are trained"),
    "gda": Entry("gda:METHOD", "Gaussian discriminant analysis and zero-shot; closed form"),
    "knn": Entry("knn:METHOD", "nearest labelled images, weighted by similarity"),
    "label-spreading": Entry("label_spreading:METHOD", "labels spread over a graph of labelled and unlabelled images"),
    "sklearn-lr": Entry("sklearn_lr:METHOD", "scikit-learn's logistic regression with balanced class weights"),
    "transclip": Entry(
        "semi_supervised.transclip:METHOD", "Gaussian mixture tied to zero-shot and a neighbourhood graph"
    ),
    "ss-text-u": Entry(
        "semi_supervised.ss_text_u:METHOD", "closed-form weights with optimal transport of unlabelled images"
    ),
    "proker": Entry("few_shot.proker:METHOD", "kernel ridge regression of what zero-shot leaves"),
    "rehark": Entry("few_shot.rehark:METHOD", "proker with a prior of text and images, bridges, and two kernels"),
    "self-training": Entry(
        "semi_supervised.self_training:METHOD", "logistic regression that labels what it is sure of and learns again"
    ),
    "simpro": Entry(
        "semi_supervised.simpro:METHOD", "EM of pseudo-labels, their class prior and the regression of self-training"
    ),
    "ecalp": Entry(
        "semi_supervised.ecalp:METHOD", "labels propagated over a graph of text, labelled and unlabelled images"
    ),
    "clap": Entry("few_shot.clap:METHOD", "linear probe from the text, held to it class by class"),
    "ulfine": Entry(
        "ulfine:METHOD", "the default: adapter, fitted prototypes, probe and fusion, with unlabelled images"
    ),
    "ulfine-paper": Entry("ulfine_paper:METHOD", "the published rules of PAF and DLF, trained by gradient"),
}


def get_method(name: str) -> Method:
    """Import a method by name.

    Args:
        name: One of `METHODS`; one of an installed package that has an entry point in ``ulfine_fast.methods``; or
            ``"path/to/file.py:METHOD"``, which runs that file.

    Raises:
        UsageError: There is none of that name; the message lists those there are.
        UlfineError: A package or a file does not hold what it should; see `ulfine_fast.elsewhere.found_method`.

    Example:
        >>> get_method("zero-shot").settings().scale
        100.0
    """
    return found_method(name)[0]


def found_method(name: str) -> tuple[Method, Origin | None]:
    """A method and where it comes from, None for those of this package; see `get_method`."""
    if name in METHODS:
        module, _, attribute = METHODS[name].module.partition(":")
        return getattr(import_module(f"ulfine_fast.methods.{module}"), attribute), None
    from ulfine_fast.elsewhere.found_method import installed, is_file, of_file, of_package

    if is_file(name):
        return of_file(name, METHODS)
    packaged = installed()
    if name in packaged:
        return of_package(packaged[name], METHODS)
    raise UsageError(f"unknown method {name!r}: choose one of {', '.join(known_methods())}")


def known_methods() -> list[str]:
    """The names of the methods of this package and of installed ones."""
    from ulfine_fast.elsewhere.found_method import installed

    return [*METHODS, *installed()]


def builder_of(method: str, model: str | None) -> Callable[[dict[str, Any]], LogitModel] | None:
    """What makes the untrained model of a fitted classifier again; None where nothing here can.

    What was stored never says which code to run: a file's is not run, and a package's only where it is installed.

    Args:
        method: Name of the method.
        model: Of `ulfine_fast.elsewhere.known_models.name_of`, for methods that are not of this package.
    """
    from ulfine_fast.elsewhere.found_method import installed
    from ulfine_fast.elsewhere.known_models import build_known, known_models

    if method not in METHODS and model in known_models():
        return partial(build_known, model)
    return get_method(method).build if method in METHODS or method in installed() else None
