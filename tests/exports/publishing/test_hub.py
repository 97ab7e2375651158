"""Folders for the Hugging Face Hub, read with the Hub's own parser."""

import json
import re
from dataclasses import replace
from html import unescape

import pytest
import yaml
from markdown_it import MarkdownIt

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import one_line
from ulfine_cache.preprocess import Preprocess
from ulfine_exports.export import export_onnx
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.publishing.hub import preprocessor_config
from ulfine_exports.publishing.model_card import model_card
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def folder(pixel_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("hub") / "shapes"
    figures = export_onnx(run=pixel_run, to_hub=place, input="pixels")
    assert (figures["to_hub"], figures["onnx"]) == (str(place), None)
    return place


def test_hub__layout(folder, pixel_onnx):
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["README.md", "config.json", "onnx/model.onnx", "preprocessor_config.json"]
    assert (folder / "onnx" / "model.onnx").read_bytes() == pixel_onnx.read_bytes()


def test_hub__card_is_what_the_hub_reads(folder, pixel_run):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(folder / "README.md")
    metrics = load_run(pixel_run).metrics
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == ("unknown", "ulfine-fast", "image-classification")
    assert {"onnx", "image-classification", "long-tailed"} <= set(data.tags)
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found["macro_accuracy"] == metrics["macro_accuracy"]
    assert found["ece"] == metrics["ece"]
    assert {result.task_type for result in data.eval_results} == {"image-classification"}
    assert None not in found.values()


def test_hub__card_is_for_people_too(folder, pixel_run):
    text = (folder / "README.md").read_text(encoding="utf-8")
    body = text.split("---\n", 2)[2]
    run = load_run(pixel_run)
    for label, count in zip(run.class_names, run.labelled_counts, strict=True):
        assert f"| {label} | {count} |" in body
    assert f"| Macro accuracy | {run.metrics['macro_accuracy']:.4f} |" in body
    assert "OnnxClassifier" in body


def test_hub__config_names_the_classes(folder, pixel_run):
    config = json.loads((folder / "config.json").read_text())
    names = load_run(pixel_run).class_names
    assert config["id2label"] == {str(index): name for index, name in enumerate(names)}
    assert {config["label2id"][name]: name for name in names} == dict(enumerate(names))
    assert config["ulfine"]["input"] == "pixels"


def test_hub__preprocessor_is_that_of_the_file(folder):
    config = json.loads((folder / "preprocessor_config.json").read_text())
    preprocess = OnnxClassifier(folder / "onnx" / "model.onnx", device="cpu").preprocess
    height, width = preprocess.size
    assert config["crop_size"] == {"height": height, "width": width}
    assert config["size"] == {"shortest_edge": height}
    assert config["image_mean"] == list(preprocess.mean)
    assert config["image_std"] == list(preprocess.std)
    assert config["rescale_factor"] == pytest.approx(1 / 255)


@pytest.mark.parametrize(
    ("mode", "size", "crops"),
    [("shortest", {"shortest_edge": 32}, True), ("squash", {"height": 32, "width": 48}, False)],
)
def test_preprocessor_config__resize_modes(mode, size, crops):
    preprocess = Preprocess((32, 48), (0.5,) * 3, (0.5,) * 3, interpolation="bilinear", resize_mode=mode)
    metadata = ExportMetadata("pixels", ("a",), 8, preprocess=preprocess.to_json())
    config = preprocessor_config(metadata)
    assert (config["size"], config["do_center_crop"], config["resample"]) == (size, crops, 2)


def test_hub__card_says_which_prior_is_inside(feature_run, tmp_path):
    export_onnx(run=feature_run, to_hub=tmp_path / "moved", test_prior="labelled")
    export_onnx(run=feature_run, to_hub=tmp_path / "plain")
    said = "answers for another class prior, labelled"
    assert said in (tmp_path / "moved" / "README.md").read_text(encoding="utf-8")
    assert said not in (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")


def test_hub__features_need_no_preprocessor(feature_run, tmp_path):
    export_onnx(run=feature_run, to_hub=tmp_path, precision="fp16")
    assert not (tmp_path / "preprocessor_config.json").exists()
    front = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert "pipeline_tag" not in front
    assert "fp16" in front["tags"]
    assert "| fp16 |" in (tmp_path / "README.md").read_text()


def test_hub__no_paths_of_this_machine(folder, pixel_run):
    for name in ("README.md", "config.json"):
        text = (folder / name).read_text()
        assert str(pixel_run.parent) not in text
        assert str(folder) not in text


def test_export__replaces_its_own_folder_and_keeps_what_is_beside(feature_run, tmp_path):
    (tmp_path / ".gitattributes").write_text("*.onnx filter=lfs")
    (tmp_path / "preprocessor_config.json").unlink(missing_ok=True)
    export_onnx(run=feature_run, to_hub=tmp_path)
    export_onnx(run=feature_run, to_hub=tmp_path)
    assert (tmp_path / ".gitattributes").read_text() == "*.onnx filter=lfs"


@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_export__refuses_the_folder_of_something_else(feature_run, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(UlfineError, match=rf"holds a {name} that `ulfine export` did not write.*--to-hub"):
        export_onnx(run=feature_run, to_hub=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_export__refuses_a_file(feature_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="is a file"):
        export_onnx(run=feature_run, to_hub=tmp_path / "file")


def test_export__local_checkpoint_loses_its_folder(feature_run, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(feature_run, run)
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["cache"]["pretrained"] = "/home/someone/secret/weights.safetensors"
    (run / "provenance.json").write_text(json.dumps(provenance))
    export_onnx(run=run, onnx=tmp_path / "m.onnx", to_hub=tmp_path / "hub")
    for path in (tmp_path / "m.onnx", tmp_path / "hub" / "README.md", tmp_path / "hub" / "config.json"):
        content = path.read_bytes()
        assert b"secret" not in content
        assert b"weights.safetensors" in content or path.name == "README.md"


def test_model_card__nothing_in_a_name_is_a_mark_or_a_tag(pixel_run):
    names = (
        "<script>alert(1)</script>",
        "a|b",
        "[x](http://y)",
        "**c**\n| d | 9 |",
        " c",
        "c",
        "`e`",
        "@user www.z.org",
    )
    run = load_run(pixel_run)
    metadata = ExportMetadata(input="pixels", class_names=names, n_features=4, model="<i>m</i>", split="a\n---\nb")
    renamed = replace(run, path=run.path.with_name("<b>r\n---"), labelled_counts=(1,) * len(names))
    card = model_card(metadata, renamed, 10)
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["library_name"] == "ulfine-fast"
    assert not re.search(r"<\w", body)
    html = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>\s*<td>(.*?)</td>\s*</tr>", html.split("Training")[1], re.DOTALL)
    assert [unescape(name) for name, _ in rows] == [one_line(name) for name in names]
    assert not re.search("<(script|a|b|i|em|strong|code)\\b", html.split("Training")[1])
