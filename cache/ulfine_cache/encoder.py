"""A frozen CLIP from open_clip: pixels and prompts in, unit-norm features out."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ulfine_cache.device import DTYPES, choose_device, choose_precision
from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.weights import load_model, load_tokenizer

_TEXT_BATCH = 256


class ClipEncoder:
    """An open_clip model in evaluation mode on one device.

    Attributes:
        model_name: As the user gave it, such as "ViT-B-16" or "builtin:tiny".
        pretrained: The tag, or the absolute path of a local checkpoint, or "" where the model's name says it all.
        preprocess: How pictures become its pixels.
        weights_hash: SHA-256 over the float32 state dict: for each name in sorted order the name, dtype, shape and
            bytes; 64 hexadecimal digits. The same weights give the same hash whatever file they came from.
        device: Where it runs.
        precision: "fp32", "bf16" or "fp16": the type of weights and activations (the model is cast, because autocast
            gains nothing on CPUs).

    Example:
        >>> encoder = ClipEncoder.load("builtin:tiny", "")  # doctest: +SKIP
        >>> encoder.encode_text(["a photo of a seven."]).shape  # doctest: +SKIP
    """

    def __init__(
        self, model: nn.Module, model_name: str, pretrained: str, device: torch.device, precision: str
    ) -> None:
        self.model_name = model_name
        self.pretrained = pretrained
        self.preprocess = Preprocess.from_open_clip(model.visual.preprocess_cfg)  # pyright: ignore
        self.weights_hash = hash_weights(model)
        self.device = device
        self.precision = precision
        self._dtype = DTYPES[precision]
        self._model = model.eval().requires_grad_(False).to(device=device, dtype=self._dtype)
        self._mean = torch.tensor(self.preprocess.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocess.std, device=device).view(1, 3, 1, 1)

    @classmethod
    def load(
        cls,
        model: str,
        pretrained: str,
        device: str = "auto",
        precision: str = "auto",
        *,
        progress: Progress = Silent(),  # noqa: B008
    ) -> Self:
        """Load a model.

        Args:
            model: "builtin:tiny", an open_clip model name, "hf-hub:..." or "local-dir:...".
            pretrained: An open_clip tag or a local checkpoint file; not looked at where `model` brings its weights.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            precision: "auto", "fp32", "bf16" or "fp16".
            progress: Receives notes on what was chosen.

        Raises:
            UsageError: Model, tag, device or precision are unknown.
            UlfineError: Weights cannot be had or do not fit, or the device is not there.
        """
        chosen = choose_device(device)
        number_format = choose_precision(precision, chosen)
        loaded, origin = load_model(model, pretrained, progress=progress)
        encoder = cls(loaded, model, origin, chosen, number_format)
        where = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{torch.get_num_threads()} threads"
        progress.note(f"encoder: {model} {origin} on {chosen} ({where}), {number_format}".replace("  ", " "))
        return encoder

    @property
    def has_text(self) -> bool:
        """Whether it encodes text."""
        return True

    @cached_property
    def n_features(self) -> int:
        """Width D of a feature."""
        blank = np.zeros((1, *self.preprocess.size, 3), np.uint8)
        return self.encode_images(blank).shape[1]

    @torch.inference_mode()
    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode a batch of images.

        Args:
            pixels: uint8 (n, height, width, 3) of `preprocess.to_pixels`, n >= 1.

        Returns:
            float32 (n, D), unit norm (normalised in float32 whatever the precision).

        Raises:
            torch.cuda.OutOfMemoryError: The batch is too large for the device.
        """
        # uint8 crosses to the device, a quarter of the bytes; the arithmetic is that of Preprocess.normalise.
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        batch = batch.div_(255).sub_(self._mean).div_(self._std)
        features = self._model.encode_image(batch.to(self._dtype).contiguous())  # pyright: ignore
        return _unit_norm(features)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode prompts; what exceeds the model's context length is cut off.

        Args:
            texts: n >= 1 prompts.

        Returns:
            float32 (n, D), unit norm.

        Raises:
            UlfineError: The tokenizer's files cannot be had.
        """
        parts = []
        for start in range(0, len(texts), _TEXT_BATCH):
            tokens = self._tokenizer(list(texts[start : start + _TEXT_BATCH])).to(self.device)
            parts.append(_unit_norm(self._model.encode_text(tokens)))  # pyright: ignore
        return np.concatenate(parts)

    @cached_property
    def image_tower(self) -> nn.Module:
        """The image encoder for export: float32 pixels (n, 3, H, W), normalised -> float32 (n, D), unit norm.

        It is on the CPU in fp32 whatever this encoder runs in.
        """
        if self.device.type == "cpu" and self.precision == "fp32":
            return ImageTower(self._model).eval()
        model, _ = load_model(self.model_name, self.pretrained, progress=Silent())
        return ImageTower(model.eval().requires_grad_(False)).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.model_name)


class ImageTower(nn.Module):
    """The image half of an open_clip model, with the normalisation at its end."""

    def __init__(self, model: nn.Module) -> None:
        import open_clip

        super().__init__()
        # Without the text half where the class is known to encode images by its visual tower alone.
        plain = type(model) in (open_clip.CLIP, open_clip.CustomTextCLIP)
        self.visual = model.visual if plain else None
        self.whole = None if plain else model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode float32 (n, 3, H, W) to float32 (n, D), unit norm."""
        features = self.visual(pixels) if self.whole is None else self.whole.encode_image(pixels)  # pyright: ignore
        return functional.normalize(features, dim=-1)


def load_encoder(
    attributes: Mapping[str, Any],
    device: str = "auto",
    precision: str | None = None,
    *,
    progress: Progress = Silent(),  # noqa: B008
) -> ClipEncoder:
    """Load the encoder that made a cache.

    Args:
        attributes: `FeatureCache.attributes`, or a copy of its keys model, pretrained, weights_hash and precision.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: None takes the cache's own.
        progress: Receives notes.

    Raises:
        UlfineError: The cache was imported, the weights cannot be had, or they are not those of the cache.
    """
    if not attributes.get("weights_hash"):
        raise UlfineError("the features were imported, their encoder is not known: images cannot be encoded alike")
    model, pretrained = str(attributes["model"]), str(attributes.get("pretrained", ""))
    precision = precision or str(attributes.get("precision") or "auto")
    encoder = ClipEncoder.load(model, pretrained, device, precision, progress=progress)
    if encoder.weights_hash != attributes["weights_hash"]:
        raise UlfineError(
            f"the weights {pretrained or model} are not those that made the cache (hash {encoder.weights_hash[:12]} "
            f"instead of {str(attributes['weights_hash'])[:12]}): make the cache again or bring the old file back"
        )
    return encoder


def hash_weights(model: nn.Module) -> str:
    """Return the `weights_hash` of a model: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _unit_norm(features: torch.Tensor) -> npt.NDArray[np.float32]:
    return functional.normalize(features.float(), dim=-1).cpu().numpy()
