"""Requests that take gigabytes or minutes where they are read carelessly: small ones, and bodies as large as may be."""

import gzip
import io
import json

from PIL import Image

from tests.attacks.pictures import png_of, saved

MEGABYTE = 2**20
BOUNDARY = "frontier"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}


def filled(item, size, *, before=b"", after=b"", last=b"0"):
    """``before``, then the item over and over, then ``last`` and ``after``: about `size` bytes."""
    count = (size - len(before) - len(after) - len(last)) // len(item)
    return before + item * count + last + after


def tensor(data, name="features", shape=(1, 3), datatype="FP32"):
    """A request of one tensor whose ``data`` are these bytes, JSON or not."""
    head = json.dumps({"name": name, "shape": shape, "datatype": datatype})
    return b'{"inputs":[' + head.encode()[:-1] + b',"data":' + data + b"}]}"


def in_data(item, last=b"0"):
    """An array of this over and over, as the data of a tensor."""
    return lambda size: filled(item, size, before=tensor(b"[", shape=(1, 3))[:-3], after=b"]}]}", last=last)


def in_field(name, item, last=b"0"):
    """An array of this over and over, in a field that the protocol does not know or does not need."""
    before = tensor(b"[1,2,3]")[:-1] + f',"{name}":['.encode()
    return lambda size: filled(item, size, before=before, after=b"]}", last=last)


def text_among_numbers(length=100_000, numbers=8000):
    """A text of this length between numbers: NumPy would make room for it in every place."""
    return tensor(json.dumps([0] * numbers + ["a" * length]).encode(), shape=(1, numbers + 1))


def outputs(count=4000, name="logits", **parameters):
    """The same output over and over."""
    request = json.loads(tensor(b"[1,2,3]"))
    request["outputs"] = [{"name": name, "parameters": parameters}] * count
    return json.dumps(request).encode()


def distinct_keys(size):
    keys = b",".join(b'"%07x":0' % number for number in range(size // 12 - 20))
    return tensor(b"[1,2,3]")[:-1] + b',"parameters":{' + keys + b"}}"


def distinct_texts(size):
    texts = b",".join(b'"%07x"' % number for number in range(size // 10 - 20))
    return tensor(b"[" + texts + b"]")


JSON_OF_A_SIZE = {
    "small numbers": in_data(b"0,"),
    "numbers of three digits": in_data(b"999,"),
    "floats": in_data(b"1.5,"),
    "whole numbers of twenty digits": in_data(b"9" * 20 + b","),
    "whole numbers of four thousand digits": in_data(b"9" * 4000 + b","),
    "empty lists": in_data(b"[],"),
    "lists of one": in_data(b"[0],"),
    "lists of three": in_data(b"[0,0,0],"),
    "empty objects": in_data(b"{},"),
    "objects of one": in_data(b'{"":0},'),
    "objects in an unknown field": in_field("else", b'{"":0},'),
    "lists in an unknown field": in_field("else", b"[],"),
    "short texts": in_data(b'"ab",'),
    "wide texts": in_data('"€",'.encode()),
    "distinct texts": distinct_texts,
    "distinct keys": distinct_keys,
    "one text": lambda size: tensor(b'["' + b"a" * size + b'"]')[: size + 90],
    "one wide text": lambda size: tensor(b'["' + "😀".encode() + b"a" * (size - 120) + b'"]'),
    "many inputs": lambda size: filled(b'{"name":"a"},', size, before=b'{"inputs":[', after=b"]}", last=b"{}"),
    "many outputs": in_field("outputs", b'{"name":"logits"},', last=b"{}"),
    "a long name of an output": lambda size: tensor(b"[1,2,3]")[:-1] + b',"outputs":[{"name":"' + b"a" * size + b'"}]}',
    "a long id": lambda size: tensor(b"[1,2,3]")[:-1] + b',"id":"' + b"a" * (size - 100) + b'"}',
    "an id of escapes": lambda size: tensor(b"[1,2,3]")[:-1] + b',"id":"' + b"\\u0001" * ((size - 100) // 6) + b'"}',
    "nested deeply": lambda size: tensor(b"[" * (size // 2) + b"]" * (size // 2 - 100)),
}
"""By name, functions of a size in bytes that make a body for ``infer`` of a model of three features."""


def form(*files):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{place}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for place, data in enumerate(files)
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def form_of_headers(size, header=b"a:b\r\n"):
    """One part whose headers do not end."""
    return filled(header, size, before=f"--{BOUNDARY}\r\n".encode(), last=b"")


_FIELD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name=""\r\n\r\n\r\n'.encode()
_FILE = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name=""; filename="a"\r\n\r\n'.encode()
_END = f"\r\n--{BOUNDARY}--\r\n".encode()

FORMS_OF_A_SIZE = {
    "headers": form_of_headers,
    "one header": lambda size: form_of_headers(size, b"a"),
    "empty fields": lambda size: filled(_FIELD, size, last=b""),
    "one field": lambda size: filled(b"a", size, before=_FIELD[:-2], after=_END, last=b""),
    "one file": lambda size: filled(b"a", size, before=_FILE, after=_END, last=b""),
    "nearly boundaries": lambda size: filled(b"\r\n--fronti", size, before=_FILE, after=_END, last=b""),
    "line ends": lambda size: filled(b"\r\n", size, before=_FILE, after=_END, last=b""),
    "carriage returns": lambda size: filled(b"\r", size, before=_FILE, after=_END, last=b""),
    "no beginning": lambda size: filled(b"a", size, last=b""),
    "line ends before the beginning": lambda size: filled(b"\r\n", size, last=b""),
}
"""By name, functions of a size in bytes that make a multipart body for ``/classify``."""

_WIDE = (7071, 7071)


def _turned(kind, mode, size=_WIDE, **options):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


LARGEST_PICTURES = {
    "png": lambda: png_of(_WIDE),
    "png with alpha, turned": lambda: _turned("PNG", "RGBA", compress_level=1),
    "png of 16 bits": lambda: saved(_WIDE, "PNG", "I;16", compress_level=1),
    "jpeg, progressive, of four colours, turned": lambda: _turned("JPEG", "CMYK", progressive=True),
    "gif with transparency": lambda: saved(_WIDE, "GIF", "P", transparency=0),
    "webp with alpha": lambda: saved((5300, 5300), "WEBP", "RGBA", lossless=True, method=0),
    "webp over the bound": lambda: saved(_WIDE, "WEBP", "RGBA", lossless=True, method=0),
    "tiff of floats": lambda: saved(_WIDE, "TIFF", "F", compression="tiff_deflate"),
    "jpeg 2000": lambda: saved((4800, 4800), "JPEG2000", "RGBA"),
    "jpeg 2000 over the bound": lambda: saved((6000, 6000), "JPEG2000", "RGBA"),
    "png of 400 million pixels": lambda: png_of((20_000, 20_000)),
}
"""By name, functions that make files of some kilobytes and of as many pixels as a server decodes, or more."""


def gzipped(body):
    return gzip.compress(body, 1)
