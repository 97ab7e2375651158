"""Files of weights are known by their bytes, nothing in them runs, and what is no such file is called what it is."""

import gzip
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ulfine_cache.encoders.checkpoints.checkpoint_file import read_checkpoint
from ulfine_cache.encoders.encoder import hash_weights
from ulfine_cache.encoders.weights import load_model
from ulfine_cache.errors import UlfineError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


class Code:
    """Leaves a file behind when it is unpickled by somebody careless."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def refusal(path):
    with pytest.raises(UlfineError) as caught:
        read_checkpoint(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line.removeprefix(f"{path} ")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin", "w"])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_read_checkpoint__goes_by_the_bytes_not_by_the_name(tmp_path, name, kind):
    if kind == "safetensors":
        save_file(TENSORS, tmp_path / name)
    else:
        torch.save(TENSORS, tmp_path / name, _use_new_zipfile_serialization=kind == "zip")
    content = read_checkpoint(tmp_path / name)
    assert list(content) == list(TENSORS)
    for key, tensor in TENSORS.items():
        torch.testing.assert_close(content[key], tensor, atol=0, rtol=0)


@pytest.mark.parametrize("new_format", [True, False])
def test_read_checkpoint__code_is_not_run(tmp_path, new_format):
    content = {"w": torch.ones(1), "x": Code(tmp_path / "ran")}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    line = refusal(tmp_path / "w.pt")
    named = " (posix.system)" if new_format else ""
    assert line.startswith(f"is not a plain checkpoint: it holds Python objects{named},")
    assert "safetensors.torch.save_file(model.state_dict()" in line
    assert refusal(tmp_path / "plain.pkl").startswith("is not a plain checkpoint: it holds Python objects, ")
    assert not (tmp_path / "ran").exists()


def test_read_checkpoint__whole_model(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt").startswith("is not a plain checkpoint: it holds Python objects (torch.nn")


@pytest.mark.filterwarnings("ignore:.?torch\\.jit")
def test_read_checkpoint__torchscript(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "w.pt"))
    assert refusal(tmp_path / "w.pt").startswith("is a TorchScript archive (OpenAI's own .pt files are), which holds")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: a download or copy has failed, fetch it again"),
        (b"\n<!DOCTYPE html>\n<html><title>403</title>", "is a page for a browser (HTML), not the file itself: fetch"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "is a pointer of Git LFS, not the file"),
        ("Grüße\tund\nmehr\n".encode() * 9, "is text: give the weights, a .safetensors file or what torch.save wrote"),
        (bytes(9000), "is nothing but zeros: a download has failed, fetch it again"),
        (b"\x00\x01" * 3000, "is no file of weights: a .safetensors file or what torch.save wrote is needed"),
        (gzip.compress(b"x", mtime=0), "is compressed with gzip: unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file: give the weights, a .safetensors"),
        (b'{"hidden_size": 3}', "is JSON, not weights: give the .safetensors or .bin file"),
    ],
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_read_checkpoint__what_is_no_checkpoint(tmp_path, content, words, name):
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).startswith(words)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_read_checkpoint__cut_short(tmp_path, kind, part):
    content = {f"layer.{number}": torch.full((100,), float(number)) for number in range(30)}
    whole, cut = tmp_path / "whole", tmp_path / "cut.pt"
    if kind == "safetensors":
        save_file(content, whole)
    else:
        torch.save(content, whole, _use_new_zipfile_serialization=kind == "zip")
    data = whole.read_bytes()
    cut.write_bytes(data[: int(part * len(data))])
    line = refusal(cut)
    assert "cut short" in line
    assert line.endswith(("fetch or copy it again", "fetch it again"))


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_read_checkpoint__flipped_bits_are_one_line_or_weights(tmp_path, kind):
    """Of the archive's own bookkeeping, and of the pickle."""
    path = tmp_path / "w.pt"
    if kind == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            read_checkpoint(path)
        except UlfineError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10


def test_read_checkpoint__other_archives(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.ones(2))
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("model.safetensors", "x")
    assert refusal(tmp_path / "w.npz").startswith("is an archive of numpy arrays (.npz): give the weights")
    assert refusal(tmp_path / "w.zip").startswith("is a ZIP archive: give the weights")


@pytest.mark.parametrize("content", [torch.ones(2), [torch.ones(2)]])
def test_read_checkpoint__no_names(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    assert "not weights by name: safetensors.torch.save_file(" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_read_checkpoint__parts_as_transformers_writes_them(small, state, tmp_path, recorder, end):
    names = [f"model-0000{number}-of-00002.{end}" for number in (1, 2)]
    halves = [dict(list(state.items())[:9]), dict(list(state.items())[9:])]
    for name, half in zip(names, halves, strict=True):
        if end == "bin":
            torch.save(half, tmp_path / name)
        else:
            save_file({key: tensor.contiguous() for key, tensor in half.items()}, tmp_path / name)
    line = f"is one of 2 parts: give --pretrained {tmp_path / f'model.{end}.index.json'}"
    assert refusal(tmp_path / names[0]).startswith(f"{line}, which lists them and is missing beside it")
    index = tmp_path / f"model.{end}.index.json"
    weight_map = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert refusal(tmp_path / names[0]).startswith(f"{line} (all parts")
    model, origin = load_model(small, str(index), progress=recorder)
    torch.save(state, tmp_path / "whole.pt")
    assert hash_weights(model) == hash_weights(load_model(small, str(tmp_path / "whole.pt"), progress=recorder)[0])
    assert origin == str(index)
    (tmp_path / names[1]).unlink()
    assert refusal(index) == f"lists 2 parts, and {names[1]} is not beside it: fetch all of them"


def test_read_checkpoint__parts_are_looked_for_beside_it_alone(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    assert refusal(index).startswith("is JSON, not weights")
