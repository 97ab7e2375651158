"""The model card of an export: what the Hub shows and searches, written from the run's own figures."""

import html
import re
from typing import TYPE_CHECKING, Any

import yaml

from ulfine_cache.names.written import one_line
from ulfine_cache.wording.counts import amount
from ulfine_exports.metadata import ExportMetadata

if TYPE_CHECKING:
    from ulfine_exports.lower_precision.comparison import Comparison
    from ulfine_fast.run import Run

_METRICS = {
    "accuracy": "Accuracy",
    "macro_accuracy": "Macro accuracy",
    "head_accuracy": "Accuracy on the head classes",
    "medium_accuracy": "Accuracy on the medium classes",
    "tail_accuracy": "Accuracy on the tail classes",
    "ece": "Expected calibration error",
    "nll": "Negative log-likelihood",
}

_RUN_IMAGES = """from ulfine_exports import OnnxClassifier

classifier = OnnxClassifier("onnx/model.onnx")
print(classifier.predict(["photo.jpg"]))"""

_RUN_FEATURES = """import onnxruntime

session = onnxruntime.InferenceSession("onnx/model.onnx", providers=["CPUExecutionProvider"])
probabilities, logits = session.run(["probabilities", "logits"], {"features": features})"""


def model_card(metadata: ExportMetadata, run: "Run", size: int, comparison: "Comparison | None" = None) -> str:
    """The text of ``README.md``: YAML that `huggingface_hub.ModelCard` reads, then a page for people.

    The licence is left at ``unknown``: it depends on the encoder and on the images, which only the owner knows.

    Args:
        metadata: What the exported file says about itself.
        run: The run, for its figures and class sizes.
        size: Bytes of the exported file.
        comparison: What its precision cost, where it is below fp32.
    """
    name = one_line(run.path.resolve().name)
    measured = {key: run.metrics[key] for key in _METRICS if run.metrics.get(key) is not None}
    front = yaml.safe_dump(_front(name, metadata, measured), sort_keys=False, allow_unicode=True)
    encoder = f"{metadata.model}, {metadata.pretrained}" if metadata.model and metadata.pretrained else metadata.model
    made_of = _plain(encoder) if encoder else "features made elsewhere"
    row = "pixels for each encoder, float32 (batch, numbers), side by side as `preprocess` in `config.json` says"
    takes = {
        "features": f"CLIP image features, float32 (batch, {metadata.n_features})",
        "pixels": row
        if '"encoders"' in metadata.preprocess
        else "normalised pixels, float32 (batch, 3, height, width), prepared as `preprocessor_config.json` says",
    }.get(metadata.input, "RGB images, uint8 (batch, height, width, 3), of any size")
    rows = "\n".join(f"| {_METRICS[key]} | {value:.4f} |" for key, value in measured.items())
    figures = (
        f"On {amount(run.metrics.get('test_rows', 0), 'test image')}, fractions of 1, before any change of "
        f"precision:\n\n| figure | value |\n|---|---|\n{rows}"
        if measured
        else "There were no test images."
    )
    if metadata.test_prior:
        figures += (
            "\n\nThese are of the model as it was fitted. The file answers for another class prior, "
            f"{metadata.test_prior}; its metadata hold it."
        )
    classes = "\n".join(
        f"| {_plain(label)} | {count} |" for label, count in zip(metadata.class_names, run.labelled_counts, strict=True)
    )
    return f"""---
{front}---

# {_plain(name)}

An image classifier of {amount(len(metadata.class_names), "class")}, fitted with ulfine-fast
(method `{metadata.method}`) on frozen features: {made_of}.

## Use

`onnx/model.onnx` ({_size(size)}, {metadata.precision}, opset {metadata.opset}) takes {takes}; it gives
`probabilities` and `logits`, (batch, {len(metadata.class_names)}). Its metadata hold the class names and the
preprocessing.

```python
{_RUN_FEATURES if metadata.input == "features" else _RUN_IMAGES}
```

## Figures

{figures}
{_precision_section(comparison)}
## Training

{amount(sum(run.labelled_counts), "labelled image")}:

| class | labelled images |
|---|---|
{classes}
"""


def _precision_section(comparison: "Comparison | None") -> str:
    if comparison is None:
        return ""
    shown = [version.figures for version in (comparison.versions[0], comparison.chosen)]
    rows = "\n".join(
        f"| {row['precision']} | {row['accuracy']:.4f} | {row['macro_accuracy']:.4f} | {row['ece']:.4f} | "
        f"{_size(row['bytes'])} |"
        for row in shown
    )
    return f"""
What the precision of this file costs, on {comparison.rows} {comparison.source}:

| precision | accuracy | macro accuracy | calibration error | size |
|---|---|---|---|---|
{rows}
"""


def _front(name: str, metadata: ExportMetadata, measured: dict[str, Any]) -> dict[str, Any]:
    front: dict[str, Any] = {"license": "unknown", "library_name": "ulfine-fast"}
    if metadata.input != "features":
        front["pipeline_tag"] = "image-classification"
    front["tags"] = ["image-classification", "onnx", "clip", "long-tailed", "ulfine-fast"]
    if metadata.precision != "fp32":
        front["tags"].append(metadata.precision)
    if measured:
        metrics = [{"type": key, "value": value, "name": _METRICS[key]} for key, value in measured.items()]
        task = {"type": "image-classification", "name": "Image classification"}
        split = one_line(metadata.split or "test")
        dataset = {"name": f"the run's own images, split {split}", "type": "private", "split": "test"}
        front["model-index"] = [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]
    return front


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _plain(text: str) -> str:
    """A name as Markdown and HTML show it, on one line: nothing in it is a mark, a link, a mention or a tag."""
    line = _MARKS.sub(r"\\\g<0>", one_line(text))
    return html.escape(line, quote=False)


_MARKS = re.compile(r"[\\`*_\[\]|~!$@#]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
