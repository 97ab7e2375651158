"""`ulfine export --to-hub`: a folder in the layout of the Hugging Face Hub. Nothing is uploaded.

DIR/README.md                  model card, its metadata as YAML in front
DIR/config.json                class names, and what the file says about itself
DIR/preprocessor_config.json   how to prepare images, where the file takes pixels
DIR/onnx/model.onnx            the exported file
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError
from ulfine_exports.metadata import FORMAT, ExportMetadata
from ulfine_exports.publishing.written_together import is_ours, write_files

if TYPE_CHECKING:
    from ulfine_exports.lower_precision.comparison import Comparison
    from ulfine_fast.run import Run

CARD, CONFIG, PREPROCESSOR, MODEL = "README.md", "config.json", "preprocessor_config.json", "onnx/model.onnx"

_RESAMPLE = {"bilinear": 2, "bicubic": 3}
"""Pillow's numbers of the filters, as image processors store them."""


def check_hub(folder: Path) -> None:
    """Refuse a folder that holds something else.

    Files that an export does not write, such as ``.git`` or ``.gitattributes``, may be there and stay.

    Raises:
        UlfineError: One of the files to write is there and no export put it there.
    """
    if folder.exists() and not folder.is_dir():
        raise UlfineError(f"{folder} is a file: choose another --to-hub")
    present = [name for name in (CARD, CONFIG, PREPROCESSOR, MODEL) if (folder / name).exists()]
    if not present:
        return
    if not is_ours(folder, CONFIG, _says_so):
        raise UlfineError(f"{folder} holds a {present[0]} that `ulfine export` did not write: choose another --to-hub")


def _says_so(config: str) -> bool:
    try:
        content = json.loads(config)
    except ValueError:
        return False
    return isinstance(content, dict) and "ulfine_format" in content


def write_hub(
    folder: Path, content: bytes, metadata: ExportMetadata, run: "Run", comparison: "Comparison | None" = None
) -> list[Path]:
    """Write the folder, or replace an export in it.

    Args:
        folder: Made where it is missing.
        content: The exported file.
        metadata: What it says about itself.
        run: The run, for its figures.
        comparison: What its precision cost, where it is below fp32.

    Returns:
        The files that were written.

    Raises:
        UlfineError: See `check_hub`, or the folder cannot be written.
    """
    from ulfine_exports.publishing.model_card import model_card

    check_hub(folder)
    preprocessor = preprocessor_config(metadata)
    texts = {
        CONFIG: _as_json(hub_config(metadata)),
        **({PREPROCESSOR: _as_json(preprocessor)} if preprocessor else {}),
        CARD: model_card(metadata, run, len(content), comparison),
    }
    if not preprocessor:
        (folder / PREPROCESSOR).unlink(missing_ok=True)
    files = {MODEL: content, **{name: text.encode() for name, text in texts.items()}}
    return write_files(folder, files, last=CONFIG)


def hub_config(metadata: ExportMetadata) -> dict[str, Any]:
    """What ``config.json`` holds: the labels under the Hub's names, and all metadata of the file."""
    labels = metadata.class_names
    return {
        "architectures": ["OnnxClassifier"],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "num_labels": len(labels),
        "ulfine_format": FORMAT,
        "ulfine": {
            key: value
            for key, value in metadata.to_props().items()
            if key not in ("class_names", "ulfine_format", "reference")
        },
    }


def preprocessor_config(metadata: ExportMetadata) -> dict[str, Any] | None:
    """The steps before ``pixels`` under the names of transformers' image processors; None where there are none."""
    if metadata.input != "pixels" or not metadata.preprocess:
        return None
    from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess, read_preprocess

    preprocess = read_preprocess(metadata.preprocess)
    if isinstance(preprocess, JoinedPreprocess):
        return None  # No image processor of theirs prepares a picture in several ways.
    height, width = preprocess.size
    crop = {"height": height, "width": width}
    squash, longest = (preprocess.resize_mode == mode for mode in ("squash", "longest"))
    shorter = getattr(preprocess, "resize", None) or min(height, width)
    size = crop if squash else {"longest_edge": max(height, width)} if longest else {"shortest_edge": shorter}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": size,
        "resample": _RESAMPLE[preprocess.interpolation],
        "do_center_crop": not squash and not longest,
        "crop_size": crop,
        "do_pad": longest,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
