"""Classify pictures with an exported file: onnxruntime, numpy and Pillow, nothing of ulfine-fast.

    python classify.py model.onnx picture.jpg [more.png ...]

Takes exports made with --input pixels or --input image.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def prepare(picture, preprocess):
    """float32 (1, 3, H, W), as exports/README.md says; this covers square inputs."""
    height, width = preprocess["size"]
    # Encoders of timm resize to more than they look at.
    fitted_height, fitted_width = preprocess.get("resize") or (height, width)
    kernel = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[preprocess["interpolation"]]
    if preprocess["resize_mode"] == "shortest":
        side = fitted_height
        short, long = sorted(picture.size)
        longer = int(side * long / short)
        picture = picture.resize((side, longer) if picture.width <= picture.height else (longer, side), kernel)
    elif preprocess["resize_mode"] == "squash":
        picture = picture.resize((fitted_width, fitted_height), kernel)
    else:
        raise SystemExit(f"resize mode {preprocess['resize_mode']}: see exports/README.md, or use --input image")
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    picture = picture.crop((left, top, left + width, top + height))
    values = np.asarray(picture, np.float32) / 255
    values = (values - np.float32(preprocess["mean"])) / np.float32(preprocess["std"])
    return values.transpose(2, 0, 1)[None]


def main():
    model, *files = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    names = json.loads(metadata["class_names"])
    for file in files:
        picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        if metadata["input"] == "image":
            rows = np.asarray(picture)[None]
        else:
            rows = prepare(picture, json.loads(metadata["preprocess"]))
        (probabilities,) = session.run(["probabilities"], {metadata["input"]: rows})
        best = int(probabilities[0].argmax())
        print(f"{file}: {names[best]} {probabilities[0, best]:.4f}")


if __name__ == "__main__":
    main()
