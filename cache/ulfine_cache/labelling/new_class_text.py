"""Text prototypes of classes that a cache did not have when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.store.unit_norm import unit_norm
from ulfine_cache.store.versions import call_of
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulfine_cache.feature_cache import FeatureCache


def text_of_classes(
    cache: FeatureCache,
    names: Sequence[str],
    progress: Progress = Silent(),  # noqa: B008
) -> npt.NDArray[np.float32]:
    """Ask the text encoder that a cache was made with, with the cache's own prompts.

    Args:
        cache: A cache made from images.
        names: n classes, as people spell them.
        progress: Told about it.

    Returns:
        float32 (n, D), unit norm: each the mean over the prompts, as `cache-features` makes them.

    Raises:
        UlfineError: The features were imported, the weights are not to be had, there is no text encoder, or the file of
            prompts has changed.
    """
    from ulfine_cache.encoders.prompts import ClassText, load_templates
    from ulfine_cache.encoding.request import named_by_content
    from ulfine_cache.joining.load import load_encoder

    asked = str((call_of(cache.attributes) or {}).get("templates") or cache.attributes.get("templates") or "simple")
    encoder = load_encoder(cache.attributes, "cpu", progress=progress)
    if not encoder.has_text:
        raise UlfineError(f"{encoder.model_name} has no text encoder")
    templates = load_templates(asked)
    if named_by_content(asked, templates) != cache.attributes.get("templates"):
        raise UlfineError(f"the prompts in {asked} are not those of the cache any more")
    prompts = [prompt for name in names for prompt in ClassText(name, name).prompts(templates)]
    features = encoder.encode_text(prompts).reshape(len(names), len(templates), -1)
    progress.note(f"text of {amount(len(names), 'new class')}, {amount(len(templates), 'prompt')} each")
    return unit_norm(features.mean(axis=1))
