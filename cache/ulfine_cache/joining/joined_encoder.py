"""Several encoders with the face of one: pixels and prompts in, their features side by side out."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import nn

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.joining.joined_tower import JoinedTower
from ulfine_cache.joining.parts import PARTS, whole_of
from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess, joined_preprocess
from ulfine_cache.pictures.views import first_view
from ulfine_cache.preprocess import Preprocess


class JoinedEncoder(ClipEncoder):
    """Several encoders side by side.

    A feature is each encoder's feature of unit length, one behind the other, divided by the root of their number, so
    that the whole has unit length and every encoder counts the same; a fit takes them apart again.

    Args:
        encoders: Two or more, in the order of their features, on one device.

    Attributes:
        encoders: The same.

    Example:
        >>> tiny = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32")
        >>> JoinedEncoder([tiny, tiny]).n_features == 2 * tiny.n_features
        True
    """

    def __init__(self, encoders: Sequence[ClipEncoder]) -> None:
        self.encoders = list(encoders)
        whole = whole_of([part_of(encoder) for encoder in encoders])
        self.model_name, self.pretrained = whole["model"], whole["pretrained"]
        self.weights_hash, self.precision = whole["weights_hash"], whole["precision"]
        self.has_text = all(encoder.has_text for encoder in encoders)
        self.device = encoders[0].device
        self.encoded_again = 0
        self.preprocess = joined_preprocess([encoder.preprocess for encoder in encoders])
        self.n_features = sum(encoder.n_features for encoder in encoders)

    @property
    def in_fp32(self) -> Self:
        """The same encoders in fp32."""
        return type(self)([encoder.in_fp32 for encoder in self.encoders])

    def recorded(self, views: str) -> dict[str, str]:
        """What a cache records of the encoders besides what it records of one."""
        return {PARTS: json.dumps([part_of(encoder, views) for encoder in self.encoders])}

    def preprocess_with(self, preprocess: Preprocess) -> None:
        """Take other pictures than the encoders' own."""
        parts = preprocess.parts if isinstance(preprocess, JoinedPreprocess) else [preprocess] * len(self.encoders)
        for encoder, part in zip(self.encoders, parts, strict=True):
            encoder.preprocess_with(part)
        self.preprocess = preprocess

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode a batch of images by each encoder.

        Args:
            pixels: uint8 (n, ...) of `preprocess.to_pixels`, n >= 1.

        Returns:
            float32 (n, D), unit norm, as is each encoder's part but for a common factor.

        Raises:
            UnusableFeatures: A row is NaN, infinite or all zeros.
            torch.cuda.OutOfMemoryError: The batch is too large for the device.
        """
        own = (
            self.preprocess.split(pixels)
            if isinstance(self.preprocess, JoinedPreprocess)
            else [pixels] * len(self.encoders)
        )
        found = [encoder.encode_images(part) for encoder, part in zip(self.encoders, own, strict=True)]
        self.encoded_again = sum(encoder.encoded_again for encoder in self.encoders)
        return side_by_side(found)

    def encode_both(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Several encoders have no projection of their own.

        Raises:
            UlfineError: Always.
        """
        raise UlfineError(f"{self.model_name} have no projection in common: leave --pre-projection out")

    def encode_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode prompts by each encoder; see `ClipEncoder.encode_text`."""
        return side_by_side([encoder.encode_text(texts) for encoder in self.encoders])

    def cut_prompts(self, texts: Sequence[str]) -> list[int]:
        """Which prompts are longer than one of the encoders reads."""
        return sorted({place for encoder in self.encoders for place in encoder.cut_prompts(texts)})

    def release(self) -> None:
        """Let go of the weights; nothing can be encoded after that."""
        for encoder in self.encoders:
            encoder.release()

    @cached_property
    def image_tower(self) -> nn.Module:
        """The image encoders for export, as their authors wrote them; see `JoinedTower`."""
        return JoinedTower([encoder.image_tower for encoder in self.encoders], self.preprocess).eval()

    @cached_property
    def lean_image_tower(self) -> nn.Module:
        """The same, rewritten as `ClipEncoder.lean_image_tower` is."""
        return JoinedTower([encoder.lean_image_tower for encoder in self.encoders], self.preprocess).eval()


def part_of(encoder: ClipEncoder, views: str = "center") -> dict[str, Any]:
    """What is recorded of one of several encoders, with how it takes the first view of a recipe."""
    return {
        "model": encoder.model_name,
        "pretrained": encoder.pretrained,
        "weights_hash": encoder.weights_hash,
        "preprocess": first_view(views, encoder.preprocess).to_json(),
        "precision": encoder.precision,
        "width": encoder.n_features,
        **encoder.recorded(views),
    }


def side_by_side(parts: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Rows of unit length side by side, brought to unit length: float32 (n, D_k) each to (n, D).

    Example:
        >>> side_by_side([np.array([[1.0]], np.float32), np.array([[-1.0]], np.float32)]).round(3).tolist()
        [[0.707..., -0.707...]]
    """
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))
