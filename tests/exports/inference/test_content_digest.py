"""The digest inside an exported file finds every change but that of the metadata's order."""

import onnx
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_exports.export import export_onnx
from ulfine_exports.inference.content_digest import KEY, add_digest, content_digest, remove_digest
from ulfine_exports.inference.untrusted_model import read_model
from ulfine_exports.info import info
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict


@pytest.fixture
def changed(feature_onnx, tmp_path):
    """A function that changes a copy of an exported file and gives its path."""

    def make(change):
        model = onnx.load(feature_onnx)
        change(model)
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return make


def test_digest__every_flipped_bit_is_found_or_means_the_same(feature_onnx, tmp_path):
    """Each 7th byte: a file that still opens holds the same graph and says the same of itself."""
    whole = feature_onnx.read_bytes()
    original = onnx.load(feature_onnx)
    remove_digest(original)
    opened = 0
    for place in range(0, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        (tmp_path / "flipped.onnx").write_bytes(bytes(data))
        try:
            model = read_model(tmp_path / "flipped.onnx")
        except UlfineError as error:
            assert "\n" not in str(error)
            continue
        opened += 1
        remove_digest(model)
        assert model.graph.SerializeToString() == original.graph.SerializeToString(), place
        found = {item.key: item.value for item in model.metadata_props}
        # What is left of the digest itself, under another key.
        assert {item.key: item.value for item in original.metadata_props}.items() <= found.items(), place
    assert opened < 10


def test_digest__every_flipped_bit_of_the_weights_is_found(feature_onnx, tmp_path):
    whole = feature_onnx.read_bytes()
    weights = max(onnx.load(feature_onnx).graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    start = whole.index(weights)
    for place in range(start, start + len(weights), 3):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        (tmp_path / "flipped.onnx").write_bytes(bytes(data))
        with pytest.raises(UlfineError, match="has changed since it was exported"):
            OnnxClassifier(tmp_path / "flipped.onnx")


def test_digest__is_asked_by_all_who_read(changed, feature_cache):
    path = changed(lambda model: setattr(model.graph, "name", "other"))
    for use in (
        lambda: predict(model=path, inputs=[feature_cache]),
        lambda: info(target=path),
        lambda: OnnxClassifier(path),
    ):
        with pytest.raises(UlfineError, match=rf"changed.onnx has changed .* remove {KEY} from its metadata"):
            use()


def test_digest__order_of_the_metadata_does_not_count(changed):
    def turn_round(model):
        items = [(item.key, item.value) for item in model.metadata_props]
        onnx.helper.set_model_props(model, dict(reversed(items)))

    assert OnnxClassifier(changed(turn_round)).class_names


def test_digest__a_key_more_or_less_is_a_change(changed):
    with pytest.raises(UlfineError, match="has changed"):
        read_model(changed(lambda model: model.metadata_props.add(key="a", value="b")))
    with pytest.raises(UlfineError, match="has changed"):
        read_model(changed(lambda model: model.metadata_props.pop(2)))
    with pytest.raises(UlfineError, match="has changed"):
        read_model(changed(lambda model: model.metadata_props.add(key=KEY, value="0" * 64)))


def test_digest__a_change_that_is_meant_is_taken_without_it(changed, feature_onnx):
    def rename(model):
        model.graph.name = "other"
        remove_digest(model)

    path = changed(rename)
    assert OnnxClassifier(path).class_names
    assert info(target=path)[KEY] is None
    assert info(target=feature_onnx)[KEY] == content_digest(onnx.load(feature_onnx))


def test_digest__leaves_the_model_as_it_was(feature_onnx):
    model = onnx.load(feature_onnx)
    before = model.SerializeToString(deterministic=True)
    content_digest(model)
    assert model.SerializeToString(deterministic=True) == before
    add_digest(model)
    assert model.SerializeToString(deterministic=True) == before == feature_onnx.read_bytes()


def test_digest__same_run_same_bytes(feature_run, feature_onnx, tmp_path):
    export_onnx(run=feature_run, onnx=tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == feature_onnx.read_bytes()


def test_digest__of_a_file_that_onnxruntime_quantised(feature_onnx, tmp_path):
    """Its tools keep the metadata: what they make is refused until somebody says that it is meant."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(feature_onnx, tmp_path / "int8.onnx")
    with pytest.raises(UlfineError, match="has changed"):
        OnnxClassifier(tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    remove_digest(model)
    onnx.save(model, tmp_path / "int8.onnx")
    assert OnnxClassifier(tmp_path / "int8.onnx").class_names == OnnxClassifier(feature_onnx).class_names
