"""Pages and pointers that lie in the place of a source."""

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source

PAGE = b"\xef\xbb\xbf <!DOCTYPE html><html><body>404</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
ENDINGS = ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "zip")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("content", "said"),
    [(PAGE, "is a page for a browser"), (POINTER, "is a pointer of Git LFS")],
    ids=["page", "lfs"],
)
def test_open_source__says_what_lies_in_its_place(tmp_path, ending, content, said):
    path = tmp_path / f"photos.{ending}"
    path.write_bytes(content)
    with pytest.raises(UlfineError) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path} {said}")


@pytest.mark.parametrize(
    ("content", "said"), [(PAGE, "is a page for a"), (POINTER, "is a pointer")], ids=["page", "lfs"]
)
def test_open_source__of_a_tar_file_it_is_the_reason(tmp_path, content, said):
    (tmp_path / "photos.tar").write_bytes(content)
    source = open_source(tmp_path / "photos.tar")
    with pytest.raises(OSError, match=said):
        source.read(source.items[0])
