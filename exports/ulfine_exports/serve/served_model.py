"""An exported file as the server sees it: one input, some outputs, and how a picture becomes a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.inference.acceptable import input_objection
from ulfine_exports.inference.exported_file import ExportedFile
from ulfine_exports.inference.providers import Device
from ulfine_exports.inference.runtime import onnxruntime_without_telemetry
from ulfine_exports.metadata import OUTLIER_SCORE
from ulfine_exports.serve.refusal import Refusal

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded, width times height: 150 MB of RGB."""

_LARGE = 2**24
"""Bytes of a batch above which onnxruntime's memory is given back."""

_DATATYPES = {"tensor(float)": ("FP32", np.float32), "tensor(uint8)": ("UINT8", np.uint8)}


@dataclass(frozen=True)
class Tensor:
    """What the protocol says about an input or output.

    Attributes:
        name: Its name in the graph.
        datatype: The protocol's word for its type, ``"FP32"`` or ``"UINT8"``.
        dtype: numpy's.
        row_shape: Shape without the batch axis; -1 where any size fits.
    """

    name: str
    datatype: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]

    @property
    def shape(self) -> list[int]:
        """Shape with the batch axis, as the protocol writes it."""
        return [-1, *self.row_shape]


class ServedModel:
    """An exported file, opened for serving; it is not trusted, see `ulfine_exports.inference.untrusted_model`.

    Args:
        path: The ``.onnx`` file.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        threads: CPU threads of onnxruntime; None takes the CPUs that this process may use.

    Attributes:
        name: The file's name without its suffix; what clients call the model.
        metadata: What the file says about itself.
        input: Its one input.
        outputs: All outputs, ``probabilities`` and ``logits`` first. An output ``logits_<part>`` for each of
            `metadata.logit_parts` holds what that part contributes to the logits. The last one is ``outlier_score``,
            a number a row, where the file has it.
        device: ``"cpu"`` or ``"cuda"``.
        device_reason: Why, when ``"auto"`` chose.

    Raises:
        UlfineError: The file cannot be served.

    Example:
        >>> model = ServedModel(Path("model.onnx"))
        >>> model.run(model.picture_row(Path("photos/seven/0001.png").read_bytes())[None])["probabilities"].shape
        (1, 2)
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        self.name = path.stem
        # Decoding and HTTP need the CPUs, too: on two busy cores 3.9 pictures a second instead of 2.5 (ViT-B/32).
        file = ExportedFile(path, cast(Device, device), threads=threads, spinning=False)
        self.metadata = file.metadata
        self._session = file.opened.session
        self.device = file.opened.device
        self.device_reason = file.opened.reason
        self.input = _tensor(self._session.get_inputs()[0], path)
        last = [OUTLIER_SCORE] if file.scores_outliers else []
        wanted = ["probabilities", "logits", *(f"logits_{part}" for part in self.metadata.logit_parts), *last]
        found = {value.name: _tensor(value, path) for value in self._session.get_outputs() if value.name in wanted}
        self.outputs = tuple(found[name] for name in wanted if name in found)
        if [tensor.name for tensor in self.outputs[:2]] != wanted[:2]:
            raise UlfineError(f"{path} has no outputs 'probabilities' and 'logits': export it again")
        self._shrinking = onnxruntime_without_telemetry().RunOptions()
        # onnxruntime keeps what it once took, unless it is told to give it back after a run.
        places = "cpu:0" if self.device == "cpu" else "cpu:0;gpu:0"
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", places)
        self._preprocess = file.preprocess if self.metadata.input == "pixels" else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C class names, in the order of the columns."""
        return self.metadata.class_names

    @cached_property
    def longest_name(self) -> int:
        """Bytes of the longest class name."""
        return max(len(name.encode()) for name in self.class_names)

    @property
    def takes_pictures(self) -> bool:
        """Whether `picture_row` works: not for features."""
        return self.metadata.input != "features"

    @property
    def parts(self) -> tuple[str, ...]:
        """The fused logits that the file gives one by one: all of `metadata.logit_parts`, or none."""
        names = {tensor.name for tensor in self.outputs}
        parts = self.metadata.logit_parts
        return parts if all(f"logits_{part}" in names for part in parts) else ()

    def picture_row(self, data: bytes) -> NDArray[Any]:
        """Decode the bytes of an image file to one row of the input; any thread may call this.

        Returns:
            float32 (3, H, W) for ``pixels``; uint8 (H, W, 3) of the picture's own size for ``image``.

        Raises:
            Refusal: The file takes features.
            UndecodableImage: The bytes give no picture, or one over `MAX_PIXELS`.
        """
        # Pillow takes a while to import, and is not needed for features.
        from ulfine_cache.pictures.pixels import decode

        self._check_takes_pictures()
        picture = decode(data, max_pixels=MAX_PIXELS)
        if self._preprocess is None:
            return np.asarray(picture)
        return self._preprocess.normalise(self._preprocess.to_pixels(picture)[None])[0]

    def picture_cost(self, data: bytes) -> int:
        """Bytes of memory that `picture_row` will take, by the file's header; any thread may call this.

        Raises:
            Refusal: The file takes features.
            UndecodableImage: The bytes give no picture, or one over `MAX_PIXELS`.
        """
        from ulfine_cache.pictures.pixels import decoding_bytes

        self._check_takes_pictures()
        return decoding_bytes(data, max_pixels=MAX_PIXELS)

    def objection(self, rows: NDArray[Any]) -> str:
        """Why (n, ...) rows of the input are not to be run, or ``""``; see `input_objection`."""
        return input_objection(self.metadata.input, rows)

    def run(self, batch: NDArray[Any]) -> Mapping[str, NDArray[np.float32]]:
        """Run the graph on (n, ...) rows of the input; all `outputs` by name, (n, C) each, the outlier score (n,)."""
        names = [tensor.name for tensor in self.outputs]
        options = self._shrinking if batch.nbytes > _LARGE else None
        found = cast("list[NDArray[np.float32]]", self._session.run(names, {self.input.name: batch}, options))
        return dict(zip(names, found, strict=True))

    def _check_takes_pictures(self) -> None:
        if not self.takes_pictures:
            raise Refusal(400, f"{self.name} takes features, not pictures: send them to v2/models/{self.name}/infer")


def _tensor(value: Any, path: Path) -> Tensor:
    if value.type not in _DATATYPES or not value.shape:
        raise UlfineError(f"{path}: {value.name!r} is a {value.type}, which is not served: export it again")
    datatype, dtype = _DATATYPES[value.type]
    sizes = tuple(size if isinstance(size, int) else -1 for size in value.shape[1:])
    return Tensor(value.name, datatype, np.dtype(dtype), sizes)
