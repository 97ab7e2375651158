"""onnxruntime-web as it lies in this folder: the version and what it consists of."""

import lzma
import re
from pathlib import Path

VERSION = "1.30.0"
"""Of the npm package onnxruntime-web (MIT) whose ``dist`` the two files in ``runtime`` are from."""

_FOLDER = Path(__file__).parent / "runtime"
_EXPORTED = re.compile(r"export\{([^}]*)\};?\s*$")


def runtime_script() -> str:
    """The JavaScript, as a script inside a page: what the module exported is the global ``ort``."""
    text = (_FOLDER / "ort.wasm.bundle.min.mjs").read_text("utf-8")
    found = _EXPORTED.search(text)
    assert found
    names = (item.partition(" as ") for item in found[1].split(","))
    return f"{text[: found.start()]}globalThis.ort={{{','.join(f'{new}:{old}' for old, _, new in names)}}};"


def runtime_binary() -> bytes:
    """The WebAssembly, 14 MB: one thread or several, SIMD, on the CPU."""
    return lzma.decompress((_FOLDER / "ort-wasm-simd-threaded.wasm.xz").read_bytes())
