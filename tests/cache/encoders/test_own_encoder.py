"""Encoders in files: named on the command line they run, and never because a cache says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.joining.load import load_encoder

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "parts" / "ulfine_colours.py"

WITH_TEXT = """
import torch
from torch import nn
from ulfine_cache.encoders.own_encoder import Encoder
from ulfine_cache.preprocess import Preprocess

class Tower(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.words = words
    def forward(self, pixels):
        return pixels.mean((2, 3))

ENCODER = Encoder("means", lambda pretrained: Tower(pretrained or "none"), Preprocess((8, 8), (0.,) * 3, (1.,) * 3),
                  encode_text=lambda tower, texts: torch.tensor([[len(text), 1., 2.] for text in texts]))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(WITH_TEXT)
    return path


def test_file__encodes_images_and_text(run, file, tmp_path):
    figures = run(model=f"{file}:ENCODER", pretrained="openai")
    cache = FeatureCache.open(tmp_path / "cache")
    assert (figures["model"], figures["pretrained"], cache.n_features) == ("means", "", 3)
    assert cache.text_features.shape == (3, 3)
    assert f"{file}:ENCODER" in cache.attributes["encoder_origin"]
    # Named before in this process; the weights' hash knows its name, although it has no weights.
    assert load_encoder(cache.attributes, "cpu").weights_hash == cache.attributes["weights_hash"]


def test_cache__never_says_which_encoder_to_run(run, file, tmp_path):
    run(model=f"{file}", pretrained="")
    file.write_text("open('was-run', 'w')\n" + WITH_TEXT)
    code = (
        "import sys; from ulfine_cache.feature_cache import FeatureCache; from ulfine_cache.joining.load import "
        "load_encoder\n"
        "a = FeatureCache.open(sys.argv[1]).attributes\n"
        "for changed in ({}, {'model': sys.argv[2]}, {'model': sys.argv[2], 'encoder_origin': '{}'}):\n"
        "    try: load_encoder(a | changed, 'cpu')\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "cache"), str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith("UlfineError the encoder 'means' of the cache is of the file")
    assert "entry point in ulfine_fast.encoders" in lines[0]
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("ENCODER = 3", "is a int, not a Encoder"),
        ("1 / 0", "cannot be run .ZeroDivisionError"),
        (WITH_TEXT.replace('"means"', '"RN50"'), "named 'RN50', as an encoder of ulfine-fast is"),
        (WITH_TEXT.replace('"means"', '"a+b"'), "choose letters, digits"),
        (WITH_TEXT.replace('Tower(pretrained or "none")', "3"), "loads a int, not a torch module"),
        (WITH_TEXT.replace('Tower(pretrained or "none")', "1 / 0"), "cannot be loaded .ZeroDivisionError"),
    ],
)
def test_file__that_holds_no_encoder_is_refused(run, file, content, complaint):
    file.write_text(content)
    with pytest.raises(UlfineError, match=complaint):
        run(model=str(file), pretrained="")


def test_example__stands_beside_others(run, tmp_path):
    run(model=f"builtin:tiny+{EXAMPLE}", pretrained="openai")
    assert FeatureCache.open(tmp_path / "cache").attributes["model"] == "builtin:tiny+colours"
