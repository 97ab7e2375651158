"""The list of methods: one line each. Importing it costs no torch, so that `ulfine fit -h` stays instant."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ulfine_cache.errors import UsageError

if TYPE_CHECKING:
    from ulfine_fast.method import Method


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

    Raises:
        UsageError: There is none of that name; the message lists those there are.

    Example:
        >>> get_method("zero-shot").settings().scale
        100.0
    """
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}")
    module, _, attribute = METHODS[name].module.partition(":")
    method: Method = getattr(import_module(f"ulfine_fast.methods.{module}"), attribute)
    return method
