"""A run whose files have changed is not used."""

import json
import shutil

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def fitted(text_cache, tmp_path_factory):
    return fit(cache=text_cache, out=tmp_path_factory.mktemp("runs") / "run", split="lt", method="zero-shot").path


@pytest.fixture
def copy(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "copy")


@pytest.mark.parametrize(("name", "stride"), [("model.safetensors", 5), ("config.yaml", 3), ("metrics.json", 41)])
def test_every_flipped_bit_is_found(copy, name, stride):
    file = copy / name
    whole = file.read_bytes()
    for place in range(0, len(whole), stride):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        file.write_bytes(bytes(data))
        with pytest.raises(UlfineError) as error:
            load_run(copy)
        assert "\n" not in str(error.value)
    file.write_bytes(whole)
    load_run(copy)


def test_flipped_weight__is_named(copy):
    file = copy / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UlfineError, match=r"is damaged \(ValueError: model.safetensors has changed .*: fit it again"):
        load_run(copy)


def test_digests__that_are_none_are_damage(copy):
    file = copy / "provenance.json"
    provenance = json.loads(file.read_text())
    for digests in ([], {"../other": "0" * 64}, {"model.safetensors": 3}, "x"):
        file.write_text(json.dumps(provenance | {"sha256": digests}))
        with pytest.raises(UlfineError, match="is damaged"):
            load_run(copy)


def test_run_without_digests__of_earlier_versions_is_read(copy, fitted):
    file = copy / "provenance.json"
    provenance = json.loads(file.read_text())
    names = ["config.yaml", "metrics.json", "model.safetensors", "provenance.json"]
    assert sorted(provenance.pop("sha256")) == names
    file.write_text(json.dumps(provenance))
    features = np.eye(16)[:3]
    assert (load_run(copy).predict_proba(features) == load_run(fitted).predict_proba(features)).all()
    assert "sha256" not in load_run(fitted).provenance


def test_provenance__what_answers_depend_on_is_compared_and_the_rest_may_be_changed(copy):
    file = copy / "provenance.json"
    provenance = json.loads(file.read_text())
    for name in ("preprocess", "precision"):
        changed = provenance | {"cache": provenance["cache"] | {name: "other"}}
        file.write_text(json.dumps(changed))
        with pytest.raises(UlfineError, match=r"provenance\.json has changed"):
            load_run(copy)
    for name in ("classes", "columns"):
        file.write_text(json.dumps(provenance | {name: ["other"]}))
        with pytest.raises(UlfineError, match=r"provenance\.json has changed"):
            load_run(copy)
    moved = provenance | {"cache": provenance["cache"] | {"path": "/elsewhere"}}
    file.write_text(json.dumps(moved))
    assert load_run(copy).cache["path"] == "/elsewhere"


def test_saved_estimator__of_text_labels_is_compared_as_it_was_written(tmp_path):
    from ulfine_fast.estimator import ULFineClassifier

    features = np.eye(6)[:, :4] + 0.1
    saved = ULFineClassifier(method="gda").fit(features, ["a", "b", "a", "b", "a", "b"])
    saved.save(tmp_path / "run")
    assert (ULFineClassifier.load(tmp_path / "run").predict(features) == saved.predict(features)).all()
