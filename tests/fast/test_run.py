import json
import shutil

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run, new_run_directory, write_run


@pytest.fixture(scope="module")
def fitted(text_cache, tmp_path_factory):
    return fit(cache=text_cache, out=tmp_path_factory.mktemp("runs") / "run", split="lt", method="zero-shot")


@pytest.fixture
def copy(fitted, tmp_path):
    shutil.copytree(fitted.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_load_run__gives_back_what_was_fitted(fitted):
    loaded = load_run(fitted.path)
    features = np.random.default_rng(0).normal(size=(5, 16))
    assert np.array_equal(loaded.predict_proba(features), fitted.predict_proba(features))
    for name in ("method", "config", "class_names", "labelled_counts", "n_features", "metrics"):
        assert getattr(loaded, name) == getattr(fitted, name), name
    assert loaded.cache["fingerprint"] == fitted.cache["fingerprint"]
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_predict_proba__is_the_softmax_of_the_model(fitted):
    features = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    logits = fitted.model(torch.as_tensor(features)).double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = fitted.predict_proba(features)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-6)
    assert fitted.predict_proba(features[:0]).shape == (0, 6)


def test_predict_proba__refuses_other_features(fitted):
    with pytest.raises(UlfineError, match="another model"):
        fitted.predict_proba(np.ones((2, 15)))
    with pytest.raises(UlfineError, match="another model"):
        fitted.predict_proba(np.ones(16))
    with pytest.raises(UlfineError, match="NaN"):
        fitted.predict_proba(np.full((1, 16), np.nan))


def test_load_run__missing(tmp_path):
    with pytest.raises(UlfineError, match="none does not exist: make one with `ulfine fit"):
        load_run(tmp_path / "none")
    with pytest.raises(UlfineError, match="holds no run"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "provenance.json"])
@pytest.mark.parametrize("content", [None, "", "[1, 2]", "{", "\x00"])
def test_load_run__damaged_text(copy, name, content):
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    with pytest.raises(UlfineError, match=r"copy is damaged .*: fit it again") as error:
        load_run(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_load_run__truncated_model(copy, length):
    model = copy / "model.safetensors"
    model.write_bytes(model.read_bytes()[:length])
    with pytest.raises(UlfineError, match="is damaged"):
        load_run(copy)


def rewrite_description(run, **changes):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    model = run / "model.safetensors"
    with safe_open(model, framework="pt") as file:
        description = json.loads(file.metadata()["ulfine"])
    save_file(load_file(model), model, metadata={"ulfine": json.dumps(description | changes)})


def test_load_run__newer_or_unknown(copy):
    rewrite_description(copy, schema_version=99)
    with pytest.raises(UlfineError, match="newer ulfine-fast"):
        load_run(copy)
    rewrite_description(copy, schema_version=1, method="magic")
    with pytest.raises(UlfineError, match=r"method 'magic', which ulfine-fast .* does not have: use the version"):
        load_run(copy)
    rewrite_description(copy, method="zero-shot", architecture={"n_features": 3, "n_classes": 6, "scale": 1.0})
    with pytest.raises(UlfineError, match="is damaged"):
        load_run(copy)


def test_new_run_directory__nothing_is_left_when_the_body_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_run_directory(tmp_path / "a" / "run") as folder:
        (folder / "half").write_text("")
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []


def test_new_run_directory__takes_an_empty_directory(tmp_path):
    (tmp_path / "run").mkdir()
    with new_run_directory(tmp_path / "run") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "run" / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_new_run_directory__never_replaces_what_is_no_run(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="not empty and holds no run"), new_run_directory(tmp_path / "photos"):
        pass
    with pytest.raises(UlfineError, match="holds no run"), new_run_directory(tmp_path / "photos", overwrite=True):
        pass
    with pytest.raises(UlfineError, match="is a file"), new_run_directory(tmp_path / "file", overwrite=True):
        pass
    with pytest.raises(UlfineError, match="file"), new_run_directory(tmp_path / "file" / "run"):
        pass


def test_new_run_directory__replaces_a_run_only_when_told(copy):
    with pytest.raises(UlfineError, match="replace it with --overwrite"), new_run_directory(copy):
        pass
    with pytest.raises(ValueError, match="inside"), new_run_directory(copy, overwrite=True):
        raise ValueError("inside")
    load_run(copy)
    with new_run_directory(copy, overwrite=True) as folder:
        (folder / "new").write_text("")
    assert [path.name for path in copy.iterdir()] == ["new"]
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_write_run__diagnostics_may_be_arrays(fitted, tmp_path):
    import dataclasses

    diagnostics = {"prior": np.array([0.25, 0.75]), "weight": np.float32(0.5), "chosen": torch.tensor(3)}
    run = dataclasses.replace(fitted, provenance={**fitted.provenance, "diagnostics": diagnostics})
    with new_run_directory(tmp_path / "run") as folder:
        write_run(folder, run)
    assert load_run(tmp_path / "run").provenance["diagnostics"] == {"prior": [0.25, 0.75], "weight": 0.5, "chosen": 3}
