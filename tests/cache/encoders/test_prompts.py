"""Class names, templates and descriptions."""

import pytest

from ulfine_cache.encoders.prompts import ClassText, clean_name, doubtful_names, load_classes, load_templates
from ulfine_cache.errors import UlfineError


def test_clean_name__underscores():
    assert clean_name("Apply_Eye__Makeup") == "Apply Eye Makeup"
    assert clean_name("_") == "_"
    assert clean_name("10") == "10"
    # What may belong to the name stays.
    assert clean_name("T-shirt") == "T-shirt"
    assert clean_name("iPhone_5-S") == "iPhone 5-S"
    assert clean_name("n02084071.dog") == "n02084071.dog"


def test_load_templates__kinds(tmp_path):
    assert load_templates("simple") == ["a photo of a {}."]
    imagenet = load_templates("imagenet")
    assert len(imagenet) == 80
    assert "itap of a {}." in imagenet
    file = tmp_path / "t.txt"
    file.write_text("# mine\na drawing of a {}\n\n{} from above\n")
    assert load_templates(str(file)) == ["a drawing of a {}", "{} from above"]


def test_load_templates__refusals(tmp_path):
    with pytest.raises(UlfineError, match="takes simple, imagenet or a file"):
        load_templates("simpel")
    file = tmp_path / "t.txt"
    file.write_text("a photo of a {}\na photo\n")
    with pytest.raises(UlfineError, match=r"line 2: a template holds \{\} once"):
        load_templates(str(file))
    file.write_text("\n")
    with pytest.raises(UlfineError, match="holds no template"):
        load_templates(str(file))
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UlfineError, match="not UTF-8"):
        load_templates(str(file))


def test_prompts__description_follows_the_name():
    assert ClassText("x", "beagle", "a hound").prompts(["a {}!", "{}"]) == ["a beagle, a hound!", "beagle, a hound"]


def test_load_classes__names_from_folders_and_file(tmp_path):
    assert [text.name for text in load_classes(None, ["a_b", "c"])] == ["a b", "c"]
    file = tmp_path / "classes.csv"
    file.write_text('folder,name,description\nn01,"tench, fish",a fish\n')
    first, second = load_classes(file, ["n01", "n02"])
    assert (first.name, first.description) == ("tench, fish", "a fish")
    assert second.name == "n02"
    assert [text.name for text in load_classes(file, [])] == ["tench, fish"]


def test_load_classes__refusals(tmp_path):
    with pytest.raises(UlfineError, match="both called 'a b'"):
        load_classes(None, ["a b", "a_b"])
    file = tmp_path / "classes.csv"
    with pytest.raises(UlfineError, match="cannot read"):
        load_classes(file, ["a"])
    file.write_text("folder,name\nx,cat\n")
    with pytest.raises(UlfineError, match="names the folder 'x', which the source does not have"):
        load_classes(file, ["a"])
    file.write_text("id,label\n1,2\n")
    with pytest.raises(UlfineError, match="line 2: expected the columns folder,name"):
        load_classes(file, ["a"])
    file.write_text("folder,name\na,x\na,y\n")
    with pytest.raises(UlfineError, match="line 3: the folder 'a' comes twice"):
        load_classes(file, ["a"])


def test_load_classes__folders_that_are_numbers(tmp_path):
    """As tar shards with integer labels have them: the file names them, in any order."""
    folders = [str(number) for number in range(11)]
    assert [text.name for text in load_classes(None, folders)] == folders
    file = tmp_path / "classes.csv"
    file.write_text("folder,name,description\n10,truck,a large car\n1,automobile,\n0,airplane\n")
    texts = load_classes(file, folders)
    assert [text.folder for text in texts] == folders
    assert [texts[number].name for number in (0, 1, 2, 10)] == ["airplane", "automobile", "2", "truck"]
    assert texts[10].prompts(["a photo of a {}."]) == ["a photo of a truck, a large car."]
    assert texts[1].prompts(["{}"]) == ["automobile"]
    # 01 is not 1.
    file.write_text("folder,name\n01,automobile\n")
    with pytest.raises(UlfineError, match="names the folder '01'"):
        load_classes(file, folders)
    # A name may not be another folder's.
    file.write_text("folder,name\n1,2\n")
    with pytest.raises(UlfineError, match="the folders '1' and '2' are both called '2'"):
        load_classes(file, folders)


def test_load_classes__spreadsheets(tmp_path):
    file = tmp_path / "classes.csv"
    text = '\ufefffolder,name,description\r\n3,"tench,  fish","a fish\r\nof rivers"\r\n4,café,\r\n'
    file.write_bytes(text.encode())
    first, second = load_classes(file, ["3", "4"])
    assert (first.name, first.description) == ("tench, fish", "a fish of rivers")
    assert second.name == "café"
    file.write_text('folder,name\n3,"a\nb"\n4,tench, fish\n')
    with pytest.raises(UlfineError, match="line 4: more values than columns"):
        load_classes(file, ["3", "4"])


def test_prompts__names_with_braces():
    assert ClassText("x", "a {} b").prompts(["{}!"]) == ["a {} b!"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["001.Laysan Albatross", "100.Brown Pelican", "200.Wren"], "begin with numbers, such as 001"),
        (["00000 Animalia Arthropoda", "09999 Plantae Tracheophyta"], "begin with numbers, such as 00000 Animalia"),
        (["1. cat", "2. dog", "bird"], "begin with numbers, such as 1. cat"),
        (["n01440764", "n01443537"], "are identifiers of WordNet, such as n01440764"),
        (["0", "1", "2"], "are numbers, such as 0"),
        (["cat", "dog", "001.bird"], ""),
        (["3D printer", "7up", "4x4"], ""),
        (["2012 Tesla Model S", "2011 BMW X3"], ""),
        (["737-200", "747-400", "MD-80"], ""),
        (["1 euro", "2 euro"], ""),
        (["n0144076", "no"], ""),
    ],
)
def test_doubtful_names(names, words):
    said = doubtful_names(names)
    assert said.startswith(words) if words else said == ""
