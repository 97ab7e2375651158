"""Lists of class names for --classes, as data sets bring them."""

import json

import pytest

from ulfine_cache.encoders.prompts import load_classes
from ulfine_cache.errors import UlfineError

CUB = "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n"
SYNSETS = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
KERAS = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}
BIRDS = {"001.Black_footed_Albatross": "Black footed Albatross", "002.Laysan_Albatross": "Laysan Albatross"}


@pytest.mark.parametrize(
    ("name", "content", "classes", "expected"),
    [
        ("class_to_idx.json", {"cat": 0, "fire_engine": 1}, ["0", "1"], {"0": "cat", "1": "fire engine"}),
        (
            "class_to_idx.json",
            {"cat": 0, "fire_engine": 1},
            ["cat", "fire_engine"],
            {"cat": "cat", "fire_engine": "fire engine"},
        ),
        ("idx_to_class.json", {"0": "cat", "1": "dog"}, ["0", "1"], {"0": "cat", "1": "dog"}),
        ("names.json", {"n01440764": "tench"}, ["n01440764", "n2"], {"n01440764": "tench", "n2": "n2"}),
        ("imagenet_class_index.json", KERAS, ["0", "1"], {"0": "tench", "1": "goldfish"}),
        ("imagenet_class_index.json", KERAS, ["n01443537"], {"n01443537": "goldfish"}),
        ("labels.json", ["cat", "dog", "owl"], ["0", "2"], {"0": "cat", "2": "owl"}),
        ("classes.txt", CUB, list(BIRDS), BIRDS),
        ("classes.txt", CUB, ["1", "2"], {"1": "Black footed Albatross", "2": "Laysan Albatross"}),
        ("classes.txt", "cat\ndog\n\n", ["0", "1"], {"0": "cat", "1": "dog"}),
        ("classes.txt", "cat\ndog\n", ["1", "2"], {"1": "cat", "2": "dog"}),
        ("classes.txt", "tree frog\n7 up\nowl", ["0", "1", "2"], {"0": "tree frog", "1": "7 up", "2": "owl"}),
        ("LOC_synset_mapping.txt", SYNSETS, ["n01440764"], {"n01440764": "tench"}),
        ("obj.names", "cat\ndog", [], {"0": "cat", "1": "dog"}),
    ],
)
def test_load_classes__lists(tmp_path, name, content, classes, expected):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert {text.folder: text.name for text in load_classes(path, classes)} == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "is no JSON: expected"),
        ("a.json", "3", "is no list of classes: expected"),
        ("a.json", '{"cat": [1, 2, 3]}', r"the class 'cat' is \[1, 2, 3\]: expected"),
        ("a.json", '{"cat": 0}', "fits none of the source's classes 'owl', 'pug': it speaks of '0'"),
        ("a.txt", "\n", "names no class: expected"),
    ],
)
def test_load_classes__refuses_what_is_no_list(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UlfineError, match=message):
        load_classes(path, ["owl", "pug"])
