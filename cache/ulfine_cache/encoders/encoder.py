"""A frozen CLIP from open_clip, or an image tower from timm: pixels and prompts in, unit-norm features out."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ulfine_cache.encoders.device import DTYPES, choose_device, choose_precision
from ulfine_cache.encoders.image_tower import ImageTower, lean_tower
from ulfine_cache.encoders.int8_tower import INT8, check_int8, multiplies_int8, to_int8
from ulfine_cache.encoders.lean_tower import lean
from ulfine_cache.encoders.own_encoder import OwnImageModel, encoder_attributes, refuse_missing
from ulfine_cache.encoders.picture_choice import PictureOptions
from ulfine_cache.encoders.projection import Projection, split_projection
from ulfine_cache.encoders.timm_model import TimmImageModel
from ulfine_cache.encoders.weights import load_model, load_tokenizer
from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount

_TEXT_BATCH = 256
_LEAST_NORM = 0.5
_Encoded = TypeVar("_Encoded")


class UnusableFeatures(UlfineError):
    """An encoder gave what is no direction: NaN, infinity, or zeros alone.

    Attributes:
        row: Of the batch, the first such row.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class ClipEncoder:
    """A model of open_clip or timm in evaluation mode on one device.

    Images may be encoded on several threads at once. Rows that a narrow number format cannot hold, as fp16 may not, are
    encoded again in fp32; what is no direction then either is an error.

    Attributes:
        model_name: As the user gave it, such as "ViT-B-16", "builtin:tiny" or "timm:resnet50.a1_in1k".
        pretrained: The tag, or the absolute path of a local checkpoint, or "" where the model's name says it all.
        preprocess: How pictures become its pixels.
        weights_hash: SHA-256 over the float32 state dict: for each name in sorted order the name, dtype, shape and
            bytes; 64 hexadecimal digits. The same weights give the same hash whatever file they came from.
        device: Where it runs.
        has_text: Whether it encodes text; timm's models do not.
        precision: "fp32", "bf16" or "fp16": the type of weights and activations (the model is cast, because autocast
            gains nothing on CPUs); or "int8": the image encoder's large products multiply integers, all else is fp32.
        encoded_again: How many rows of images were encoded in fp32, because they overflowed in `precision`.

    Example:
        >>> encoder = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32")
        >>> encoder.encode_text(["a photo of a seven."]).shape == (1, encoder.n_features)
        True
    """

    def __init__(
        self, model: nn.Module, model_name: str, pretrained: str, device: torch.device, precision: str
    ) -> None:
        self.model_name = model_name
        self.pretrained = pretrained
        self.weights_hash = hash_weights(model)
        self.has_text = not isinstance(model, TimmImageModel)
        if isinstance(model, OwnImageModel):
            self.has_text = model.texts is not None
        self.device = device
        self.precision = precision
        self._dtype = torch.float32 if precision == INT8 else DTYPES[precision]
        self.encoded_again = 0
        self._lock = threading.Lock()
        self._fp32: Self | None = None
        # GPUs convolve faster with the channels last; other layers do not care.
        last = device.type == "cuda" and _is_convolutional(model.visual)  # pyright: ignore
        self._layout = torch.channels_last if last else torch.contiguous_format
        model = model.eval().requires_grad_(False)
        preprocess = model.visual.preprocess_cfg  # pyright: ignore
        self._origin = encoder_attributes(model)
        # What is exported is compared with the model as its authors wrote it.
        self._own_tower = ImageTower(model).eval() if device.type == "cpu" and precision == "fp32" else None
        model.visual = lean(model.visual)  # pyright: ignore
        model = model.to(device=device, dtype=self._dtype)
        self._model = model.to(memory_format=self._layout) if last else model
        self.preprocess_with(Preprocess.from_open_clip(preprocess))  # pyright: ignore
        if precision == INT8:
            model.visual = to_int8(model.visual, self._example(), model_name)  # pyright: ignore

    @classmethod
    def load(
        cls,
        model: str,
        pretrained: str,
        device: str = "auto",
        precision: str = "auto",
        *,
        pictures: PictureOptions | None = PictureOptions(),  # noqa: B008
        progress: Progress = Silent(),  # noqa: B008
    ) -> Self:
        """Load a model.

        Args:
            model: "builtin:tiny", an open_clip model name, "hf-hub:...", "local-dir:..." or "timm:...".
            pretrained: An open_clip tag or a local checkpoint file; not looked at where `model` brings its weights.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            precision: "auto", "fp32", "bf16", "fp16", or on CPUs with VNNI "int8".
            pictures: What is asked for about pictures; None where `preprocess_with` follows, so that weights from a
                file need not say how they are made.
            progress: Receives notes on what was chosen.

        Raises:
            UsageError: Model, tag, device or precision are unknown, or nothing says how pictures are made.
            UlfineError: Weights cannot be had or do not fit, the device is not there, or int8 is not for the model or
                the CPU.
        """
        progress.note(f"loading the encoder {model}")
        chosen = choose_device(device)
        if precision == INT8:
            check_int8(chosen)
        number_format = INT8 if precision == INT8 else choose_precision(precision, chosen)
        loaded, origin = load_model(model, pretrained, pictures=pictures, progress=progress)
        encoder = cls(loaded, model, origin, chosen, number_format)
        where = (
            torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else amount(torch.get_num_threads(), "thread")
        )
        progress.note(f"encoder: {model} {origin} on {chosen} ({where}), {number_format}".replace("  ", " "))
        return encoder

    @cached_property
    def n_features(self) -> int:
        """Width D of a feature."""
        blank = np.zeros((1, *self.preprocess.size, 3), np.uint8)
        with torch.inference_mode():
            return self._model.encode_image(self._batch(blank)).shape[1]  # pyright: ignore

    def preprocess_with(self, preprocess: Preprocess) -> None:
        """Take other pictures than the model's own: those of a cache that it made, for instance."""
        self.preprocess = preprocess
        self._mean = torch.tensor(preprocess.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess.std, device=self.device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode a batch of images.

        Args:
            pixels: uint8 (n, height, width, 3) of `preprocess.to_pixels`, n >= 1.

        Returns:
            float32 (n, D), unit norm (normalised in float32 whatever the precision).

        Raises:
            UnusableFeatures: A row is NaN, infinite or all zeros.
            torch.cuda.OutOfMemoryError: The batch is too large for the device.
        """
        features = _unit_norm(self._model.encode_image(self._batch(pixels)))  # pyright: ignore
        wrong = _unusable(features)
        if len(wrong):
            features[wrong] = self._again(wrong, lambda encoder: encoder.encode_images(pixels[wrong]))
        return features

    @torch.inference_mode()
    def encode_both(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Encode a batch of images in one pass, and also give what the encoder's last, linear step makes features of.

        Args:
            pixels: uint8 (n, height, width, 3) of `preprocess.to_pixels`, n >= 1.

        Returns:
            float32 (n, D) as `encode_images` gives them and float32 (n, D_pre), both unit norm.

        Raises:
            UnusableFeatures: A row is NaN, infinite or all zeros.
            UlfineError: The last step is not linear.
            torch.cuda.OutOfMemoryError: The batch is too large for the device.
        """
        projection = self._projection
        raw = projection.before(self._batch(pixels))
        features, before = _unit_norm(projection.project(raw)), _unit_norm(raw)
        wrong = np.union1d(_unusable(features), _unusable(before))
        if len(wrong):
            features[wrong], before[wrong] = self._again(wrong, lambda encoder: encoder.encode_both(pixels[wrong]))
        return features, before

    def map_text(self, text_features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map text prototypes to the space before the projection; see `Projection.map_text`.

        Args:
            text_features: float32 (C, D), unit norm.

        Returns:
            float32 (C, D_pre), unit norm.

        Raises:
            UlfineError: The last step is not linear.
        """
        return self._projection.map_text(text_features)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode prompts; what exceeds the model's context length is cut off.

        Args:
            texts: n >= 1 prompts.

        Returns:
            float32 (n, D), unit norm.

        Raises:
            UlfineError: The model has no text encoder, the tokenizer's files cannot be had, or a prompt's features are
                NaN, infinite or all zeros.
        """
        if not self.has_text:
            raise UlfineError(f"{self.model_name} encodes images only: it has no text encoder")
        parts = []
        for start in range(0, len(texts), _TEXT_BATCH):
            batch = list(texts[start : start + _TEXT_BATCH])
            features = _unit_norm(self._texts(batch))
            parts.append(features)
            wrong = _unusable(features)
            if not len(wrong):
                continue
            if self.precision == "fp32":
                raise UlfineError(f"prompt {batch[wrong[0]]!r}: {self._complaint()}")
            features[wrong] = self.in_fp32.encode_text([batch[row] for row in wrong])
        return np.concatenate(parts)

    def _texts(self, batch: Sequence[str]) -> torch.Tensor:
        if isinstance(self._model, OwnImageModel):
            return self._model.encode_texts(batch)
        return self._model.encode_text(self._tokenizer(batch).to(self.device))  # pyright: ignore

    def cut_prompts(self, texts: Sequence[str]) -> list[int]:
        """Which prompts are longer than the model reads: what is beyond its context length is cut off.

        Args:
            texts: n >= 1 prompts.

        Returns:
            Their places in `texts`.

        Raises:
            UlfineError: The tokenizer's files cannot be had.
        """
        if isinstance(self._model, OwnImageModel):
            return []  # Nobody knows.
        tokens = self._tokenizer(list(texts))
        length = tokens.shape[1]
        # With room for one token more, whole prompts end in what fills up an empty one.
        roomier = self._tokenizer([*texts, ""], context_length=length + 1)
        return (roomier[:-1, length] != roomier[-1, length]).nonzero()[:, 0].tolist()

    def release(self) -> None:
        """Let go of the weights and of the memory they take; nothing can be encoded after that."""
        self._model, self._own_tower, self._fp32 = nn.Identity(), None, None
        self.__dict__.pop("_projection", None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @cached_property
    def image_tower(self) -> nn.Module:
        """The image encoder for export: float32 pixels (n, 3, H, W), normalised -> float32 (n, D), unit norm.

        It is on the CPU in fp32 whatever this encoder runs in.
        """
        if self._own_tower is not None:
            return self._own_tower
        model, _ = load_model(self.model_name, self.pretrained, progress=Silent())
        return ImageTower(model.eval().requires_grad_(False)).eval()

    @cached_property
    def lean_image_tower(self) -> nn.Module:
        """`image_tower`, rewritten by `lean_tower`: the same features by fewer steps."""
        tower = self.image_tower
        return lean_tower(tower) if isinstance(tower, ImageTower) else tower

    def recorded(self, views: str) -> dict[str, str]:
        """What a cache records of the encoder besides its name, weights, preprocessing and precision.

        Args:
            views: The recipe of the cache's views.
        """
        return self._origin

    def _again(self, wrong: npt.NDArray[np.int64], encode: Callable[[Self], _Encoded]) -> _Encoded:
        """Encode rows of a batch in fp32, which no features came of in another format."""
        if self.precision == "fp32":
            raise UnusableFeatures(self._complaint(), int(wrong[0]))
        try:
            found = encode(self.in_fp32)
        except UnusableFeatures as error:
            raise UnusableFeatures(str(error), int(wrong[error.row])) from error
        with self._lock:
            self.encoded_again += len(wrong)
        return found

    @property
    def in_fp32(self) -> Self:
        """The same encoder in fp32, on the same device; it is loaded when it is first asked for."""
        with self._lock:
            if self._fp32 is None:
                model, _ = load_model(self.model_name, self.pretrained, progress=Silent())
                self._fp32 = type(self)(model, self.model_name, self.pretrained, self.device, "fp32")
                self._fp32.preprocess_with(self.preprocess)
            return self._fp32

    def _complaint(self) -> str:
        name = f"{self.model_name} {self.pretrained}".strip()
        for weight, values in self._model.named_parameters():
            if not values.isfinite().all():
                return (
                    f"the encoder {name} gives no numbers (NaN), because its weights hold NaN or infinity ({weight}): "
                    "take other weights"
                )
        return f"the encoder {name} gives no direction (NaN, infinity or zeros alone), in fp32: take other weights"

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.model_name)

    @cached_property
    def _projection(self) -> Projection:
        return split_projection(self._model, self._example(), self.model_name)

    def _example(self) -> torch.Tensor:
        """A picture for trials: any pattern will do, as long as it is not the same everywhere."""
        height, width = self.preprocess.size
        example = torch.linspace(-1, 1, 3 * height * width).view(1, 3, height, width)
        return example.to(self.device, self._dtype)

    def _batch(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        # torch warns of arrays that it could write to by mistake.
        batch = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
        if self.device.type == "cuda":
            # From page-locked memory the copy runs beside the arithmetic of other streams.
            batch = batch.pin_memory()
        # uint8 crosses to the device, a quarter of the bytes; the arithmetic is that of Preprocess.normalise.
        batch = batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        batch = batch.div_(255).sub_(self._mean).div_(self._std)
        return batch.to(self._dtype).contiguous(memory_format=self._layout)


def load_encoder(
    attributes: Mapping[str, Any],
    device: str = "auto",
    precision: str | None = None,
    *,
    progress: Progress = Silent(),  # noqa: B008
) -> ClipEncoder:
    """Load the encoder that made a cache; it takes pictures as they became the cache's first view.

    Args:
        attributes: `FeatureCache.attributes`, or a copy of its keys model, pretrained, weights_hash, precision and
            preprocess.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: None takes the cache's own, or what "auto" takes where that is int8 and the device cannot.
        progress: Receives notes.

    Raises:
        UlfineError: The cache was imported, the weights cannot be had, or they are not those of the cache.
    """
    if not attributes.get("weights_hash"):
        raise UlfineError("the features were imported, their encoder is not known: images cannot be encoded alike")
    refuse_missing(attributes)
    model, pretrained = str(attributes["model"]), str(attributes.get("pretrained", ""))
    if precision is None:
        precision = str(attributes.get("precision") or "auto")
        if precision == INT8 and not multiplies_int8(choose_device(device)):
            precision = "auto"
            progress.note(
                "the cache was encoded in int8, which this device does not multiply: features differ a little"
            )
    recorded = attributes.get("preprocess")
    pictures = None if recorded else PictureOptions()
    encoder = ClipEncoder.load(model, pretrained, device, precision, pictures=pictures, progress=progress)
    if encoder.weights_hash != attributes["weights_hash"]:
        raise UlfineError(
            f"the weights {pretrained or model} are not those that made the cache (hash {encoder.weights_hash[:12]} "
            f"instead of {str(attributes['weights_hash'])[:12]}): make the cache again or bring the old file back"
        )
    if recorded:
        encoder.preprocess_with(Preprocess.from_json(str(recorded)))
    return encoder


def hash_weights(model: nn.Module) -> str:
    """Return the `weights_hash` of a model: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_convolutional(tower: nn.Module) -> bool:
    # A transformer has one convolution, which cuts the patches out.
    return sum(isinstance(layer, nn.Conv2d) for layer in tower.modules()) > 1


def _unusable(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    # Of unit norm, but where there was nothing to bring there.
    return np.flatnonzero(~(np.linalg.norm(features, axis=1) > _LEAST_NORM))


def _unit_norm(features: torch.Tensor) -> npt.NDArray[np.float32]:
    return functional.normalize(features.float(), dim=-1).cpu().numpy()
