"""Fits on the disk: never done twice, taken for no other, and merged from several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_fast.bench import one_fit
from ulfine_fast.bench.kept_fits import read_fit
from ulfine_fast.compare import compare


def without_seconds(figures):
    return json.loads(json.dumps(figures | {"methods": [{**m, "seconds": None} for m in figures["methods"]]}))


@pytest.fixture
def counted(monkeypatch):
    """How many fits were done."""
    done = []
    real = one_fit.fit_and_judge

    def counting(cache, draw, contender, seed, *rest, **more):
        done.append((contender.name, seed))
        return real(cache, draw, contender, seed, *rest, **more)

    monkeypatch.setattr(one_fit, "fit_and_judge", counting)
    return done


def test_parts_and_the_whole__give_the_same_figures(text_cache, tmp_path, counted):
    request = {"cache": text_cache, "split": "lt", "methods": "zero-shot,knn,lp"}
    whole = compare(**request, seeds=4, out=tmp_path / "whole")
    for seeds in ("2:4", "0:2"):
        compare(**request, seeds=seeds, out=tmp_path / "parts")
    counted.clear()
    merged = compare(**request, seeds=4, out=tmp_path / "parts")
    assert counted == []
    paths = ("out", "tables")
    assert without_seconds({k: v for k, v in merged.items() if k not in paths}) == without_seconds(
        {k: v for k, v in whole.items() if k not in paths}
    )
    plain = compare(**request, seeds=4)
    assert set(plain) == {"split", "protocol", "seeds", "methods"}
    for kept, direct in zip(merged["methods"], plain["methods"], strict=True):
        assert {k: v for k, v in kept.items() if k in direct and k != "seconds"} == {
            k: v for k, v in direct.items() if k != "seconds"
        }
    assert compare(**request, seeds="2:4", out=tmp_path / "parts")["seeds"] == [2, 3]


def test_file__holds_logits_settings_and_metrics(text_cache, tmp_path):
    figures = compare(cache=text_cache, split="lt", methods="knn", seeds="7:8", out=tmp_path / "b")
    path = tmp_path / "b" / "fits" / "lt" / "knn" / "00007.safetensors"
    kept, arrays = read_fit(path), load_file(path)
    assert arrays["logits"].dtype == np.float32
    recall = [(arrays["logits"].argmax(1) == arrays["labels"])[arrays["labels"] == k].mean() for k in range(6)]
    assert figures["methods"][0]["macro_accuracy"]["mean"] == pytest.approx(np.mean(recall))
    assert (FeatureCache.open(text_cache).labels[arrays["rows"]] == arrays["labels"]).all()
    assert kept["settings"]["folds"] and kept["metrics"]["macro_accuracy"] == pytest.approx(np.mean(recall))
    assert json.loads((tmp_path / "b" / "comparison.json").read_text()) == json.loads(json.dumps(figures))


def test_other_cache_protocol_setting_or_code__is_refused(text_cache, bare_cache, tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "b"
    shutil.copytree(text_cache, cache)
    method = tmp_path / "mine.py"
    method.write_text(
        "import dataclasses\nfrom ulfine_fast.methods import zero_shot\n"
        "METHOD = dataclasses.replace(zero_shot.METHOD, name='mine')\n"
    )
    request = {"cache": cache, "split": "lt", "methods": f"knn,{method}", "seeds": 1, "out": out}
    compare(**request)
    with pytest.raises(UlfineError, match=r"knn/00000\.safetensors was made with folds=5, not 3: name another --out"):
        compare(**request, set=["knn.folds=3"])
    # Seeds that are new do not let another setting in.
    with pytest.raises(UlfineError, match="folds=5, not 3"):
        compare(**(request | {"seeds": "5:6"}), set=["knn.folds=3"])
    with pytest.raises(UlfineError, match="was made with other grids"):
        compare(**request, grid=["knn.folds=3,5"])
    method.write_text(method.read_text() + "# changed\n")
    with pytest.raises(UlfineError, match=r"mine/00000\.safetensors was made with other code"):
        compare(**request)
    compare(**(request | {"methods": "knn"}))
    shutil.rmtree(cache / "splits")
    make_split(cache=cache, name="lt", labelled_max=19, imbalance=5.0, test_per_class=10)
    with pytest.raises(UlfineError, match="a protocol of labelled_max=20, not 19"):
        compare(**(request | {"methods": "knn"}))
    with pytest.raises(UlfineError, match="other features or labels"):
        compare(**(request | {"methods": "knn", "cache": bare_cache}))


def test_damaged_file_and_strange_directories(text_cache, tmp_path):
    request = {"cache": text_cache, "split": "lt", "methods": "zero-shot", "seeds": 1}
    compare(**request, out=tmp_path / "b")
    path = tmp_path / "b" / "fits" / "lt" / "zero-shot" / "00000.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UlfineError, match="is damaged: delete it"):
        compare(**request, out=tmp_path / "b")
    with pytest.raises(UlfineError, match="holds other things"):
        compare(**request, out=text_cache)
    with pytest.raises(UlfineError, match="is a file"):
        compare(**request, out=path)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_kill__and_go_on(text_cache, tmp_path):
    out = tmp_path / "b"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom ulfine_fast.bench.kept_fits import KeptFits\n"
        "from ulfine_fast.compare import compare\nreal = KeptFits.keep\n"
        "def keep(self, *given):\n    real(self, *given)\n"
        "    if len(list(Path(sys.argv[2]).rglob('*.safetensors'))) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "KeptFits.keep = keep\n"
        "compare(cache=Path(sys.argv[1]), split='lt', methods='zero-shot,knn', seeds=3, out=Path(sys.argv[2]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(text_cache), str(out)], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (out / "comparison.json").exists()
    before = {path: path.read_bytes() for path in out.rglob("*.safetensors")}
    assert len(before) == 3
    figures = compare(cache=text_cache, split="lt", methods="zero-shot,knn", seeds=3, out=out)
    assert {path: path.read_bytes() for path in before} == before
    plain = compare(cache=text_cache, split="lt", methods="zero-shot,knn", seeds=3)
    for kept, direct in zip(figures["methods"], plain["methods"], strict=True):
        assert kept["nll"] == direct["nll"]
