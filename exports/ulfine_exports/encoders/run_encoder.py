"""The image encoder that a run's features came from."""

from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_cache.encoders.encoder import ClipEncoder
    from ulfine_fast.run import Run


def encoder_of(
    run: "Run",
    remedy: str,
    *,
    device: str = "auto",
    precision: str | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> "ClipEncoder":
    """Load the encoder of a run's cache and check that its weights are the same.

    Args:
        run: A loaded run.
        remedy: What to do instead where there is no encoder; ends the error message.
        device: Where to run it.
        precision: None takes that of the cache.
        progress: Told what is loaded.

    Raises:
        UlfineError: The run was fitted on features made elsewhere, or the encoder cannot be loaded or has changed.
    """
    if run.cache is not None and "parts" in run.cache and not run.cache.get("weights_hash"):
        raise UlfineError(f"the run {run.path} was fitted on the features of several encoders side by side: {remedy}")
    if run.cache is None or not run.cache.get("weights_hash"):
        raise UlfineError(f"the run {run.path} was fitted on features made elsewhere, its encoder is unknown: {remedy}")
    from ulfine_cache.joining.load import load_encoder

    return load_encoder(run.cache, device, precision, progress=progress)
