"""Tables of images that are made to break what reads them."""

import io
import json
from pathlib import Path

GOOD = "path,label\n" + "".join(
    f"photos/{name}/{n:02d}.png,{name}\n" for name in ("ellipse", "rectangle") for n in range(4)
)
"""Of the photographs of `tests.attacks.victims`, beside which it lies."""


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(io.BytesIO(GOOD.encode())), buffer)
    return buffer.getvalue()


def hostile_tables() -> dict[str, tuple[str, bytes]]:
    """By name, the suffix and the content of a file."""
    rows = [{"file_name": line.partition(",")[0], "label": line.partition(",")[2]} for line in GOOD.splitlines()[1:]]
    coco = {
        "images": [{"id": number, "file_name": row["file_name"]} for number, row in enumerate(rows)],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [{"id": number, "image_id": number, "category_id": number % 2} for number in range(len(rows))],
    }
    parquet = _parquet()
    return {
        "empty": ("csv", b""),
        "header only": ("csv", b"path,label\n"),
        "NUL bytes": ("csv", GOOD.encode().replace(b"ellipse\n", b"elli\0pse\n")),
        "all NUL": ("csv", bytes(100_000)),
        "a field of 20 MB": ("csv", GOOD.encode() + b"photos/x.png," + b"a" * 20_000_000),
        "an open quote": ("csv", GOOD.encode() + b'"photos/x.png,' + b"a\n" * 1_000_000),
        "100,000 columns": ("csv", b"path,label" + b",x" * 100_000 + b"\n" + GOOD.encode().partition(b"\n")[2]),
        "ragged": ("csv", GOOD.encode() + b"photos/x.png\na,b,c,d\n\n,,,\n"),
        "the same column twice": ("csv", GOOD.encode().replace(b"path,label", b"path,path")),
        "UTF-16 without its mark": ("csv", GOOD.encode("utf-16-le")),
        "no text at all": ("csv", bytes(range(256)) * 400),
        "lone surrogates": ("csv", GOOD.encode().replace(b"rectangle\n", b"\xed\xa0\x80\n")),
        "paths that leave": ("csv", b"path,label\n../../../etc/passwd,a\n/dev/zero,b\n/proc/self/environ,a\n"),
        "paths of control characters": ("csv", b"path,label\na\x1b[2J.png,a\nb\rerror: forged.png,b\n"),
        "one image in two classes": ("csv", GOOD.encode() + b"photos/ellipse/00.png,rectangle\n"),
        "numbers without end": (
            "csv",
            b"path,label\nphotos/ellipse/00.png," + b"9" * 5000 + b"\nphotos/ellipse/01.png,1\n",
        ),
        "infinite labels": ("csv", b"path,label\nphotos/ellipse/00.png,inf\nphotos/ellipse/01.png,1e999\n"),
        "JSON nested": ("jsonl", b"[" * 200_000),
        "JSON of lists": ("jsonl", b"[1, 2]\n" * 5),
        "JSON with a path that is none": ("jsonl", b'{"file_name": {"a": 1}, "label": [1]}\n' * 3),
        "COCO": ("json", json.dumps(coco).encode()),
        "COCO nested": ("json", b'{"images":' + b"[" * 200_000),
        "COCO of other types": ("json", json.dumps(coco | {"annotations": {"a": 3}}).encode()),
        "COCO of ids that are none": ("json", json.dumps(coco | {"categories": [{"id": [], "name": {}}]}).encode()),
        "COCO of null": ("json", json.dumps(coco | {"images": [None, 3, "x"]}).encode()),
        "Parquet cut": ("parquet", parquet[:-20]),
        "Parquet of zeros": ("parquet", parquet[:40] + bytes(len(parquet) - 80) + parquet[-40:]),
        "Parquet flipped": ("parquet", bytes(byte ^ (number % 97 == 5) for number, byte in enumerate(parquet))),
    }


def write_table(folder: Path, name: str) -> Path:
    suffix, content = hostile_tables()[name]
    path = folder / f"table.{suffix}"
    path.write_bytes(content)
    return path
