"""A cache as NumPy arrays and JSON: nothing but `numpy.load` and `json.load` is needed to read it."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.conversion.row_blocks import row_blocks
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.names.written import readable_names
from ulfine_cache.progress import Progress


def write_npy(
    cache: FeatureCache, view: int, folder: Path, progress: Progress, *, pre_projection: bool = False
) -> None:
    """Write `features.npy`, `labels.npy`, `sets.npy`, `paths.json`, `class_names.json`, `text_features.npy`, `splits/`.

    Args:
        cache: An open cache.
        view: Which view.
        folder: An empty directory.
        progress: Receives the stage "converting" in rows.
        pre_projection: Take the features from before the encoder's projection, and the text among them.

    Raises:
        UlfineError: A shard or a split is damaged.
        OSError: The folder cannot be written.
    """
    rows = cache.n_rows
    with ExitStack() as files:

        def open_array(name: str, dtype: npt.DTypeLike, *shape: int) -> IO[bytes]:
            file = files.enter_context((folder / f"{name}.npy").open("wb"))
            write_npy_header(file, dtype, shape)
            return file

        features = open_array("features", "<f2", rows, cache.width(pre_projection=pre_projection))
        labels = open_array("labels", "<i8", rows)
        sets = open_array("sets", "<U5", rows)
        paths = files.enter_context((folder / "paths.json").open("w", encoding="ascii"))
        done = 0
        for block in row_blocks(cache, view, pre_projection=pre_projection):
            features.write(block.features.astype("<f2").tobytes())
            labels.write(block.labels.astype("<i8").tobytes())
            sets.write(np.array(block.set_names, "<U5").tobytes())
            # The brackets of the list come with the first and after the last block.
            paths.write(("[\n" if done == 0 else ",\n") + ",\n".join(json.dumps(path) for path in block.paths))
            done += len(block.labels)
            progress.update("converting", done, rows)
        paths.write("\n]\n")
    names = json.dumps(readable_names(cache.class_names), ensure_ascii=False, indent=0)
    (folder / "class_names.json").write_text(names + "\n", "utf-8")
    text = cache.text_features_pre if pre_projection else cache.text_features
    if text is not None:
        np.save(folder / "text_features.npy", text.astype("<f4"))
    for name in cache.split_names():
        split = cache.stored_split(name)
        (folder / "splits").mkdir(exist_ok=True)
        parts = {part: getattr(split, part) for part in ("labelled", "unlabelled", "val", "test")}
        np.savez(folder / "splits" / f"{name}.npz", **parts)


def write_npy_header(file: IO[bytes], dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
    """Begin an `.npy` file; its rows follow as bytes in C order.

    Not `numpy.memmap`, because on a full disk that ends the process by SIGBUS.
    """
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
