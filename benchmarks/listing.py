"""Listing a source: do time and memory stay linear, and below 1 GB, up to a million images?

    python benchmarks/listing.py [--quick] [--json FILE] [--kinds folder,csv,...]

Collections of 100,000 and of 1,000,000 images (with --quick 10,000 and 100,000) are made in every form that
`cache-features` reads, and each is listed by `open_source` in a process of its own, whose largest resident size
Linux reports. No image is read: that is what the rest of stage one does, in bounded memory. Times are compared as the
processor's, on which other work of the machine tells less.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

CLASSES = 1000
_LINKS = 10_000
"""Names that one file may have: file systems bound that."""

_LIST = """
import sys, time
from pathlib import Path
from ulfine_cache.sources.open_source import open_source

def peak():
    # Linux: the getrusage of a new process begins with the peak of the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before = peak()
started, computed = time.perf_counter(), time.process_time()
source = open_source(Path(sys.argv[1]))
computed = time.process_time() - computed
seconds = time.perf_counter() - started
labelled = sum(item.label >= 0 for item in source.items)
print(len(source.items), labelled, len(source.classes), seconds, computed, peak(), before)
"""


def names(count: int) -> Iterator[tuple[str, str]]:
    """Yield (class, path) of each image."""
    for number in range(count):
        label = f"class-{number % CLASSES:04d}"
        yield label, f"{label}/{number:07d}.jpg"


def picture() -> bytes:
    """The smallest of JPEG files."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def folder(top: Path, count: int) -> Path:
    """Files in class folders, as hard links."""
    root = top / "folder"
    for label in range(CLASSES):
        (root / f"class-{label:04d}").mkdir(parents=True)
    for number, (_, path) in enumerate(names(count)):
        original = top / f"{number // _LINKS}.jpg"
        if number % _LINKS == 0:
            original.write_bytes(picture())
        os.link(original, root / path)
    return root


def csv_table(top: Path, count: int) -> Path:
    """A CSV file beside the files."""
    with (top / "folder" / "table.csv").open("w") as file:
        file.write("path,label\n")
        file.writelines(f"{path},{label}\n" for label, path in names(count))
    return top / "folder" / "table.csv"


def json_lines(top: Path, count: int) -> Path:
    """A JSON Lines file beside the files, with names that lack their extension."""
    with (top / "folder" / "table.jsonl").open("w") as file:
        file.writelines(json.dumps({"image_id": path[:-4], "label": label}) + "\n" for label, path in names(count))
    return top / "folder" / "table.jsonl"


def parquet_table(top: Path, count: int) -> Path:
    """A Parquet file beside the files."""
    labels, paths = zip(*names(count), strict=True)
    parquet.write_table(pa.table({"path": paths, "label": labels}), top / "folder" / "table.parquet")
    return top / "folder" / "table.parquet"


def coco(top: Path, count: int) -> Path:
    """COCO's JSON beside the files, with what such files hold besides."""
    path = top / "folder" / "coco.json"
    with path.open("w") as file:
        file.write('{"info": {}, "images": [')
        for number, (_, name) in enumerate(names(count)):
            extra = {"width": 640, "height": 480, "date_captured": "2020-01-01 00:00:00", "location": 1, "license": 1}
            file.write("," * bool(number) + json.dumps({"id": number, "file_name": name} | extra))
        file.write('], "annotations": [')
        for number in range(count):
            extra = {"bbox": [1.5, 2.5, 3.5, 4.5], "area": 9.0, "iscrowd": 0}
            line = {"id": number, "image_id": number, "category_id": number % CLASSES} | extra
            file.write("," * bool(number) + json.dumps(line))
        categories = [{"id": number, "name": f"class {number}"} for number in range(CLASSES)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def parquet_images(top: Path, count: int) -> Path:
    """A Parquet file that holds the images."""
    data = picture()
    labels, paths = zip(*names(count), strict=True)
    cells = pa.array([{"bytes": data, "path": path} for path in paths])
    parquet.write_table(pa.table({"image": cells, "label": labels}), top / "images.parquet", row_group_size=10_000)
    return top / "images.parquet"


def tar_shards(top: Path, count: int) -> Path:
    """WebDataset shards of 10,000 samples."""
    data = picture()
    (top / "shards").mkdir()
    tar = None
    for number, (label, _) in enumerate(names(count)):
        if number % 10_000 == 0:
            if tar is not None:
                tar.close()
            tar = tarfile.open(top / "shards" / f"train-{number // 10_000:05d}.tar", "w")  # noqa: SIM115
        assert tar is not None
        for ending, content in (("jpg", data), ("cls", label.encode())):
            member = tarfile.TarInfo(f"{number:07d}.{ending}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            tar.members.clear()
    if tar is not None:
        tar.close()
    return top / "shards"


def zip_file(top: Path, count: int) -> Path:
    """A zip file of class folders."""
    data = picture()
    with zipfile.ZipFile(top / "images.zip", "w") as file:
        for _, path in names(count):
            file.writestr(path, data)
    return top / "images.zip"


def array_file(top: Path, count: int) -> Path:
    """An .npz file of small pictures."""
    labels = (np.arange(count) % CLASSES)[:, None]
    np.savez(top / "images.npz", train_images=np.zeros((count, 8, 8), np.uint8), train_labels=labels)
    return top / "images.npz"


KINDS: dict[str, Callable[[Path, int], Path]] = {
    "folder": folder,
    "csv": csv_table,
    "jsonl": json_lines,
    "parquet": parquet_table,
    "coco": coco,
    "parquet-images": parquet_images,
    "tar": tar_shards,
    "zip": zip_file,
    "npz": array_file,
}
"""In an order in which the folder comes before the tables that name its files."""


def listed(path: Path) -> dict[str, float]:
    """List a source in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _LIST, str(path)], capture_output=True, text=True, check=True)
    images, labelled, classes, seconds, computed, peak, before = map(float, done.stdout.split())
    found = {"images": images, "labelled": labelled, "classes": classes, "seconds": seconds, "cpu_seconds": computed}
    return found | {"peak_mib": peak, "imports_mib": before}


def main() -> int:
    parser = argparse.ArgumentParser(description="Is a source listed in linear time and below 1 GB?")
    parser.add_argument("--quick", action="store_true", help="10,000 and 100,000 images instead of ten times as many")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds of sources, with commas between")
    arguments = parser.parse_args()
    counts = (10_000, 100_000) if arguments.quick else (100_000, 1_000_000)
    wanted = arguments.kinds.split(",")
    figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in wanted}
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            top = Path(place)
            if set(wanted) & {"csv", "jsonl", "parquet", "coco"} and "folder" not in wanted:
                folder(top, count)
            for kind in wanted:
                found = listed(KINDS[kind](top, count))
                if not found["images"] == found["labelled"] == count or found["classes"] != CLASSES:
                    raise SystemExit(f"{kind}: listed {found}, expected {count} images of {CLASSES} classes")
                figures[kind].append(found)
                print(
                    f"{kind:>15} {count:>8} images: {found['seconds']:7.2f} s, of the processor "
                    f"{found['cpu_seconds']:7.2f} s, {1e6 * found['cpu_seconds'] / count:6.1f} us an image, "
                    f"{found['peak_mib']:6.0f} MiB at most",
                    flush=True,
                )
    bars = []
    for kind, (small, large) in figures.items():
        growth = large["cpu_seconds"] / max(small["cpu_seconds"], 0.2)
        bars.append(
            {"name": f"{kind}: time, ten times the images", "value": growth, "bar": 15.0, "holds": growth <= 15}
        )
        peak = large["peak_mib"] * 2**20 / 1e9
        bars.append({"name": f"{kind}: GB at most", "value": peak, "bar": 1.0, "holds": peak <= 1.0})
    for bar in bars:
        print(
            f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.2f} (bar: at most {bar['bar']:g})"
        )
    if arguments.json:
        content = {"figures": figures, "bars": bars}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
