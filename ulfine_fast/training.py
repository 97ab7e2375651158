"""Runs one method on one set of training data: the single path behind `fit`, `compare` and the estimator."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ulfine_cache.elsewhere.found_part import said
from ulfine_cache.encoders.device import choose_device as choose_any_device
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.wording.counts import amount
from ulfine_fast.method import FitResult, Method
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.models.several_encoders import SeveralEncoders
from ulfine_fast.registry import METHODS
from ulfine_fast.rows.encoder_shares import choose_encoder_shares, of_each_encoder
from ulfine_fast.rows.left_out import together
from ulfine_fast.rows.memory_bound import free_bytes, readable

if TYPE_CHECKING:
    from ulfine_cache.config import StrictConfig
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


_WORTH_TELLING = 10**9
"""Bytes."""


def choose_device(device: str) -> str:
    """Resolve ``auto`` to the GPU where there is a CUDA one, else the CPU.

    Apple's MPS is left out: it has no double precision, which closed forms need, and a fit takes seconds on the CPU.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns:
        A name that torch understands.

    Raises:
        UsageError: The name is none of these.
        UlfineError: torch does not see the device that was asked for.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("mps"):
        raise UsageError("device mps has no double precision, which fitting needs: use auto or cpu")
    return str(choose_any_device(device))


def train(
    method: Method,
    settings: StrictConfig,
    data: TrainingData,
    seed: int,
    progress: Progress,
    *,
    keep_interrupted: bool = False,
) -> FitResult:
    """Fit a method and bring its model to the CPU, ready to predict.

    Deterministic: the same arguments on the same machine give the same bits.

    Args:
        method: From `ulfine_fast.registry.get_method`.
        settings: An instance of ``method.settings``.
        data: The rows to train on; their device is where the method trains.
        seed: Seed of everything random in the method.
        progress: Told about the steps.
        keep_interrupted: Whether a fit that Ctrl-C ended early is handed back, with `FitResult.interrupted_at` set.

    Raises:
        UlfineError: The fit ended with NaN or infinite weights.
        KeyboardInterrupt: Ctrl-C ended the fit, and half a fit is not wanted or there is none yet.
    """
    return train_seeds(method, settings, data, [seed], progress, keep_interrupted=keep_interrupted)[0]


def train_seeds(
    method: Method,
    settings: StrictConfig,
    data: TrainingData,
    seeds: Sequence[int],
    progress: Progress,
    *,
    keep_interrupted: bool = False,
) -> list[FitResult]:
    """`train` for several seeds: side by side where the method can, else one after another.

    Args:
        method: From `ulfine_fast.registry.get_method`.
        settings: An instance of ``method.settings``.
        data: The rows to train on.
        seeds: S seeds, at least one.
        progress: Told about the steps, or about the seeds that are done.
        keep_interrupted: As in `train`.

    Returns:
        One result for each seed; fewer where Ctrl-C came between two seeds. A method in which nothing is random is
        fitted once.

    Raises:
        UlfineError: Memory is not enough, or a fit ended with NaN or infinite weights.
        KeyboardInterrupt: As in `train`.
    """
    if data.parts:
        return _train_several(method, settings, data, seeds, progress, keep_interrupted=keep_interrupted)
    _check_memory(method, data, progress)
    with _deterministic(data.features.device.type), _named(method):
        if not method.seeded and len(seeds) > 1:
            progress.note(f"nothing in {method.name} is random: every seed gives the same")
            results = [method.fit(data, settings, seeds[0], progress)] * len(seeds)
        else:
            results = method.fit_seeds(data, settings, seeds, progress)
        if method.name not in METHODS:
            _check_results(results, data)
    if any(result.interrupted_at is not None for result in results) and not keep_interrupted:
        raise KeyboardInterrupt
    return [_finished(method, result) for result in results]


@contextmanager
def _named(method: Method) -> Generator[None]:
    """Name a method of somebody else's whose code fails."""
    try:
        yield
    except UlfineError:
        raise
    except Exception as error:
        if method.name in METHODS:
            raise
        raise UlfineError(f"method {method.name!r} failed ({said(error)}): mend it, --debug shows where") from error


def _check_results(results: Sequence[object], data: TrainingData) -> None:
    """Refuse what a method of somebody else's hands back where it is no classifier of these features and classes.

    Raises:
        TypeError: It is none.
    """
    for result in results:
        if not isinstance(result, FitResult):
            raise TypeError(f"a fit gives a {type(result).__name__}, not a FitResult")
        if not isinstance(result.model, LogitModel):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"its model is a {type(result.model).__name__}, not a LogitModel")
        with torch.no_grad():
            shape = tuple(result.model(data.features[:1]).shape)
        if shape != (1, data.n_classes):
            classes = amount(data.n_classes, "class")
            raise TypeError(f"its model gives logits of shape {shape} for one row of {classes}")


def _train_several(
    method: Method,
    settings: StrictConfig,
    data: TrainingData,
    seeds: Sequence[int],
    progress: Progress,
    *,
    keep_interrupted: bool,
) -> list[FitResult]:
    """`train_seeds` on joined features: a model for each encoder, and their answers together."""
    encoders = of_each_encoder(data)
    shares = choose_encoder_shares(encoders, seeds[0])
    progress.note(f"shares of the encoders: {', '.join(f'{share:.2f}' for share in shares)}")
    of_encoders = [
        train_seeds(method, settings, part, seeds, progress, keep_interrupted=keep_interrupted) for part in encoders
    ]
    # Ctrl-C between two seeds leaves fewer of them.
    return [_together(found, data.parts, shares) for found in zip(*of_encoders, strict=False)]


def _together(results: Sequence[FitResult], widths: Sequence[int], shares: list[float]) -> FitResult:
    """The results of several encoders as one; what is told of the fit is told of the encoder that counts most."""
    most = results[shares.index(max(shares))]
    model = SeveralEncoders([result.model for result in results], widths, shares).eval().requires_grad_(False)
    stopped = [result.interrupted_at for result in results if result.interrupted_at is not None]
    return FitResult(
        model=model,
        history=most.history,
        diagnostics={**most.diagnostics, "encoder_shares": shares},
        interrupted_at=stopped[0] if stopped else None,
        left_out=together([result.left_out for result in results], shares),
    )


def _check_memory(method: Method, data: TrainingData, progress: Progress) -> None:
    """Say what a fit of wide features takes, and refuse one that cannot end well before it begins."""
    needed = method.memory(data)
    if needed < _WORTH_TELLING:
        return
    device = data.features.device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
    takes = f"{method.name} on features that are {data.n_features} wide takes up to {readable(needed)} of memory"
    if needed > free:
        raise UlfineError(
            f"{takes}, and {readable(free)} are free: choose a method that needs no matrices of that width, such as "
            "lp, or features of fewer numbers"
        )
    progress.note(takes)


def _finished(method: Method, result: FitResult) -> FitResult:
    """The result with its model on the CPU, ready to predict."""
    model = result.model.to("cpu").eval().requires_grad_(False)
    for name, values in model.state_dict().items():
        if not torch.isfinite(values).all():
            raise UlfineError(
                f"method {method.name} ended with NaN or infinite values in {name}: lower its learning rate or scale"
            )
    return replace(result, model=model)


@contextmanager
def _deterministic(device_type: str) -> Generator[None]:
    """Forbid the GPU kernels whose sums depend on the order of threads; the CPU has none that are used here."""
    if device_type != "cuda":
        yield
        return
    # cuBLAS reads this once, at its first call: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
