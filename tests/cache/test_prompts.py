"""Class names, templates and descriptions."""

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.prompts import ClassText, clean_name, load_classes, load_templates


def test_clean_name__underscores():
    assert clean_name("Apply_Eye__Makeup") == "Apply Eye Makeup"
    assert clean_name("_") == "_"


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
