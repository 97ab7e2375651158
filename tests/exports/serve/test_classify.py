"""`POST /classify`: image files in every form in which clients send them."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.attacks.pictures import MANY_PIECES, jpeg_of_markers, jpeg_of_scans, jpeg_with_another_size
from tests.exports.serve.conftest import png
from ulfine_exports.export import export_onnx
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.fitting import fit

BOUNDARY = "frontier"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*files):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def test_one_image_as_the_body(colours):
    answer = colours.ask("POST", "/classify", png("red"), {"Content-Type": "image/png"})
    assert answer.status == 200
    (image,) = answer.json["images"]
    assert (image["name"], image["label"]) == ("", "red")
    assert [item["name"] for item in image["classes"]] == ["red", "blue", "green"]
    assert sum(item["probability"] for item in image["classes"]) == pytest.approx(1)
    assert image["confidence"] == image["classes"][0]["probability"]


def test_twelve_bits_in_sixteen_are_read_as_stage_one_reads_them(colours):
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))

    def answer(values):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG")
        return colours.ask("POST", "/classify", buffer.getvalue(), {"Content-Type": "image/png"}).json["images"]

    grey[:, -1] = 255
    assert answer(np.rint(grey * (4095 / 255)).astype(np.uint16)) == answer(grey)


def test_several_files(colours):
    body = form(("a.png", png("green")), ("b.txt", b"hello"), ("c.png", png("blue")))
    answer = colours.ask("POST", "/classify?top=1", body, MULTIPART)
    assert answer.status == 200
    first, broken, last = answer.json["images"]
    assert (first["name"], first["label"], len(first["classes"])) == ("a.png", "green", 1)
    assert broken == {"name": "b.txt", "error": "not an image"}
    assert (last["name"], last["label"]) == ("c.png", "blue")


@pytest.fixture(scope="module")
def fused_onnx(pixel_run):
    """The embedded CLIP with `ulfine` behind it, as the command line exports it."""
    folder = pixel_run.parent
    run = fit(cache=folder / "cache", out=folder / "fused", method="ulfine")
    export_onnx(run=run.path, onnx=folder / "fused.onnx", input="pixels")
    return folder / "fused.onnx"


def test_same_answer_as_the_classifier(start, fused_onnx, photographs):
    """On drawings, the same probabilities as without a server, and parts that add up."""
    server = start(fused_onnx)
    files = sorted(photographs.rglob("*.png"))[:6]
    body = form(*((file.name, file.read_bytes()) for file in files))
    images = server.ask("POST", "/classify?top=99", body, MULTIPART).json["images"]
    classifier = OnnxClassifier(fused_onnx, device="cpu")
    probabilities, logits = classifier.predict_both(files)
    for image, row, fused in zip(images, probabilities, np.sort(logits), strict=True):
        found = {item["name"]: item["probability"] for item in image["classes"]}
        assert [found[name] for name in classifier.class_names] == pytest.approx(row.tolist(), abs=1e-5)
        assert [part["name"] for part in image["spoke"]["parts"]] == ["text", "probe"]
        lead = pytest.approx(float(fused[-1] - fused[-2]), abs=1e-3)
        assert image["spoke"]["lead"] == lead
        assert sum(part["lead"] for part in image["spoke"]["parts"]) == lead


def test_nobody_spoke_where_nothing_was_fused(start, painting_onnx):
    assert "spoke" not in start(painting_onnx).ask("POST", "/classify", png("red")).json["images"][0]


def test_which_logits_spoke(colours):
    """The text side sees green, the probe wants blue; on a grey picture the probe decides."""
    green = colours.ask("POST", "/classify", png("#00ff00")).json["images"][0]["spoke"]
    assert green["decided_by"] == "text"
    assert green["lead"] == pytest.approx(2, abs=1e-4)
    assert green["parts"] == [
        {"name": "text", "label": "green", "lead": pytest.approx(4, abs=1e-4)},
        {"name": "probe", "label": "blue", "lead": pytest.approx(-2, abs=1e-4)},
    ]
    grey = colours.ask("POST", "/classify", png("grey")).json["images"][0]
    assert (grey["label"], grey["spoke"]["decided_by"]) == ("blue", "probe")


@pytest.mark.parametrize("colour", ["red", "green"])
def test_as_a_person_sees_it(colours, colour):
    """Transparent, palette and 16-bit files through the decoder that made the cache."""
    transparent = Image.new("RGBA", (20, 16), colour)
    buffer = io.BytesIO()
    transparent.save(buffer, format="WEBP", lossless=True)
    assert colours.ask("POST", "/classify", buffer.getvalue()).json["images"][0]["label"] == colour
    buffer = io.BytesIO()
    transparent.convert("P").save(buffer, format="GIF")
    assert colours.ask("POST", "/classify", buffer.getvalue()).json["images"][0]["label"] == colour


@pytest.mark.parametrize(
    ("body", "headers", "line"),
    [
        (b"", {}, "no image came"),
        (b"hello", {}, "not an image"),
        (b"<!DOCTYPE html><html>", {}, "HTML page, not an image: download the image again"),
        (png("red")[:60], {}, "cannot be decoded|truncated|not an image"),
        (form(), MULTIPART, "no image came"),
        (form(("a.txt", b"x"), ("", b"y")), MULTIPART, "a.txt: not an image; not an image"),
        (b"junk", MULTIPART, "cannot be read"),
        (form(("a.png", png("red"))), {"Content-Type": "multipart/form-data"}, "Missing boundary"),
        (b"--frontier\r\n\r\nx\r\n--frontier--", MULTIPART, "cannot be read"),
        (form(*((f"{n}.png", b"") for n in range(129))), MULTIPART, "Too many files"),
        (form(("a.png", png("red")))[:-30], MULTIPART, "no image came"),
    ],
)
def test_not_an_image(colours, body, headers, line):
    error = colours.ask("POST", "/classify", body, headers).refused(400)
    assert any(choice in error for choice in line.split("|")), error


@pytest.mark.parametrize("top", ["0", "-1", "many", "1.5", "٣", ""])
def test_wrong_top(colours, top):
    from urllib.parse import quote

    assert "top is" in colours.ask("POST", f"/classify?top={quote(top)}", png("red")).refused(400)


def test_features_take_no_pictures(trees):
    assert "takes features, not pictures" in trees.ask("POST", "/classify", png("red")).refused(400)


@pytest.mark.parametrize("side", [8_000, 20_000])
def test_decompression_bomb(colours, side):
    """A file of some kilobytes that would be 64 or 400 million pixels, refused by its header."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    assert len(bomb) < 10_000
    assert "too large" in colours.ask("POST", "/classify", bomb).refused(400)


def test_elongated_picture(colours):
    """One pixel high and very wide: resizing must not make it huge."""
    assert colours.ask("POST", "/classify", png("blue", (60_000, 1))).json["images"][0]["label"] == "blue"


def test_pictures_of_one_request_are_batched(start, colours_onnx):
    server = start(colours_onnx, max_delay_ms=2000)
    body = form(*((f"{number}.png", png("red")) for number in range(32)))
    answer = server.ask("POST", "/classify", body, MULTIPART)
    assert [image["label"] for image in answer.json["images"]] == ["red"] * 32
    batches = server.metric("ulfine_batch_rows_count")
    assert server.metric("ulfine_batch_rows_sum") == 32
    assert batches < 32


def test_probabilities_are_the_models(colours):
    image = colours.ask("POST", "/classify", png("#ff8000")).json["images"][0]
    logits = np.array([4.0, 4 * 128 / 255, 2.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    found = {item["name"]: item["probability"] for item in image["classes"]}
    assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(expected.tolist(), abs=1e-5)


def test_pictures_of_all_sizes_for_a_file_that_takes_them_as_they_are(start, painting_onnx):
    """No resizing on the way: the mean is that of the whole picture, and only pictures of one size run together."""
    server = start(painting_onnx, max_delay_ms=500)
    stripes = Image.new("RGB", (60, 10), "#ff0000")
    stripes.paste("#00ff00", (0, 0, 20, 10))
    buffer = io.BytesIO()
    stripes.save(buffer, format="PNG")
    files = [("a", png("red", (9, 7))), ("b", buffer.getvalue()), ("c", png("#00ff00", (9, 7))), ("d", png("blue"))]
    images = server.ask("POST", "/classify", form(*files), MULTIPART).json["images"]
    assert [image["label"] for image in images] == ["red", "red", "green", "blue"]
    logits = np.array([4 * 2 / 3, 4 / 3, 2.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    assert images[1]["confidence"] == pytest.approx(expected.max(), abs=1e-5)
    assert server.metric("ulfine_batch_rows_sum") == 4
    assert server.metric("ulfine_batch_rows_count") >= 3


@pytest.mark.parametrize(
    ("picture", "line"),
    [
        (jpeg_of_scans, "too many scans"),
        (jpeg_of_markers, "too many markers"),
        (jpeg_with_another_size, "truncated file"),
        (MANY_PIECES["pnm to scale"], "too many values to scale"),
    ],
)
def test_picture__that_would_take_minutes(colours, picture, line):
    """Refused by its form: two of them would stop all classification."""
    assert line in colours.ask("POST", "/classify", picture()).refused(400)
