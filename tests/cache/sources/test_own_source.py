"""Sources in files: named on the command line they run, and never because a cache says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.cached_images import cached_images
from ulfine_cache.verify import verify

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "parts" / "ulfine_colours.py"


@pytest.fixture
def images(photos):
    """A list of some of the pictures, beside them."""
    lines = [f"{path.relative_to(photos)} {path.parent.name}" for path in sorted(photos.rglob("*.png"))[::2]]
    lines.append(str(next((photos / "unlabelled").iterdir()).relative_to(photos)))
    file = photos / "images.txt"
    file.write_text("\n".join(line.removesuffix(" unlabelled") for line in dict.fromkeys(lines)) + "\n")
    return file


def test_file__lists_images_and_goes_on(run, images, tmp_path):
    source = Path(f"{EXAMPLE}:SOURCE:{images}")
    first = run(source=source)
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names == ["cat", "red fox", "zebra"]
    assert cache.attributes["source"] == f"image-list:{images}"
    assert cache.labels.min() == -1
    assert cached_images(cache)(0) == (images.parent / cache.paths[0]).read_bytes()
    assert run(source=source)["shards_encoded"] == 0
    images.write_text("".join(images.read_text().splitlines(keepends=True)[1:]))
    changed = run(source=source)
    assert (changed["rows"], changed["images_encoded"]) == (first["rows"] - 1, 0)
    assert verify(cache=tmp_path / "cache", source=True)["cache"]


def test_cache__never_says_which_source_to_run(run, images, tmp_path):
    copy = tmp_path / "mine.py"
    copy.write_text(EXAMPLE.read_text())
    run(source=Path(f"{copy}:SOURCE:{images}"))
    copy.write_text("open('was-run', 'w')\n" + EXAMPLE.read_text())
    code = (
        "import sys; from ulfine_cache.feature_cache import FeatureCache; from ulfine_cache.sources.cached_images "
        "import cached_images\n"
        "cache = FeatureCache.open(sys.argv[1])\n"
        "for source in (cache.attributes['source'], sys.argv[2]):\n"
        "    cache.attributes['source'] = source\n"
        "    try: cached_images(cache)\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
        "    cache.attributes.pop('source_origin', None)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "cache"), f"{copy}:SOURCE:{images}"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert "images come from the source 'image-list' of the file" in lines[0]
    assert "entry point in ulfine_fast.sources" in lines[0]
    assert not (tmp_path / "was-run").exists()


ONE = """
from ulfine_cache.sources.own_source import Images, Source
from ulfine_cache.sources.source import SourceItem

def open_one(argument):
    return Images(["a"], [SourceItem("x.png", 0, "", 3, 0)], read=lambda item: b"abc")

SOURCE = Source("one", open_one)
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('SOURCE = Source("one", open_one)', "SOURCE = {}", "SOURCE is a dict, not a Source"),
        ('"x.png", 0', '"x.png", 1', "gives x.png the label 1, and has 1 class"),
        ('"x.png", 0, ""', '"x.png", 0, "exam"', "puts x.png into the set 'exam'"),
        ('[SourceItem("x.png", 0, "", 3, 0)]', "[]", "lists no images"),
        ('[SourceItem("x.png", 0, "", 3, 0)]', "[3]", "lists a int, not a SourceItem"),
        ('[SourceItem("x.png", 0, "", 3, 0)]', '[SourceItem("x", 0, "", 3, 0)] * 2', "lists 'x' twice"),
        ("return Images", "return 1 / 0, Images", "cannot open '' .ZeroDivisionError: division by zero"),
        ("return Images", "return lambda *a: 0, Images", "gives a tuple, not Images"),
        ('b"abc"', "1 / 0", "the only image in .* cannot be read: x.png: .*its source failed .ZeroDivisionError"),
        ('b"abc"', 'b"abc"', "the only image in .* cannot be read: x.png"),
    ],
)
def test_file__that_is_wrong_gets_one_line(run, tmp_path, before, after, complaint):
    assert before in ONE
    (tmp_path / "mine.py").write_text(ONE.replace(before, after))
    with pytest.raises(UlfineError, match=complaint) as caught:
        run(source=tmp_path / "mine.py")
    assert "\n" not in str(caught.value)


def test_argument__without_the_name_in_front_is_explained(run):
    with pytest.raises(UlfineError, match=r"an argument comes after the name, .*py:SOURCE:photos"):
        run(source=Path(f"{EXAMPLE}:photos"))
    with pytest.raises(UlfineError, match="no installed package has a source 'image-lists'"):
        run(source=Path("image-lists:photos.txt"))
