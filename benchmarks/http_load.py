"""Requests per second of `ulfine serve`, from a number of clients that each wait for their answer.

Everything runs on this machine: the clients take their share of its CPUs, as a bare loop over onnxruntime does not.

    python benchmarks/http_load.py FILE.onnx [--quick] [--json FILE] [options of ulfine serve]
"""

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
from PIL import Image

from ulfine_exports.serve.served_model import ServedModel

CLIENTS = (1, 8, 32)


@dataclass(frozen=True)
class Load:
    """What some clients saw: answers a second, and seconds for the median and for all but one in a hundred."""

    clients: int
    requests: int
    per_second: float
    p50: float
    p99: float


@contextlib.contextmanager
def server_process(model: Path, *options: str) -> Iterator[str]:
    """`ulfine serve` in a process of its own, as users start it; the address, as soon as it is ready."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ulfine_cli.main", "serve", str(model), "--port", str(port), "--quiet", *options]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5):
                break
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def load(url: str, path: str, body: bytes, headers: dict[str, str], *, clients: int, seconds: float) -> Load:
    """POST the same body from `clients` connections, each as soon as its last answer has come."""
    place = urlsplit(url)
    lines = [f"POST {path} HTTP/1.1", f"Host: {place.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([*lines, "", ""]).encode() + body
    times: list[float] = []

    async def client(until: float) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**24)
        try:
            while time.perf_counter() < until:
                began = time.perf_counter()
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(head.decode())
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                times.append(time.perf_counter() - began)
        finally:
            writer.close()

    async def all_clients() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(client(began + seconds) for _ in range(clients)))
        return time.perf_counter() - began

    took = asyncio.run(all_clients())
    return Load(clients, len(times), len(times) / took, statistics.median(times), float(np.quantile(times, 0.99)))


def infer_request(model: ServedModel, rows: np.ndarray) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of an inference request with a binary tensor, answered in binary."""
    raw = rows.astype(model.input.dtype).tobytes()
    tensor = {
        "name": model.input.name,
        "datatype": model.input.datatype,
        "shape": list(rows.shape),
        "parameters": {"binary_data_size": len(raw)},
    }
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    text = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)), "Content-Type": "application/octet-stream"}
    return f"/v2/models/{model.name}/infer", text + raw, headers


def bare_loop(path: Path, rows: np.ndarray, seconds: float) -> float:
    """Rows a second of onnxruntime alone, as it comes, in batches of all `rows`."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: rows}
    session.run(None, fed)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        session.run(None, fed)
        done += len(rows)
    return done / (time.perf_counter() - began)


def picture(size: tuple[int, int] = (500, 375)) -> bytes:
    """A JPEG as large as the usual photograph of a data set, with something to see in it."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    buffer = BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def measure(path: Path, seconds: float, *options: str) -> dict:
    """Figures of one file: the bare loop at batches of 1, 8 and 32, then HTTP with 1, 8 and 32 clients."""
    model = ServedModel(path)
    shape = [size if size > 0 else 224 for size in model.input.row_shape]
    generator = np.random.default_rng(0)
    if model.input.datatype == "UINT8":
        rows = generator.integers(0, 256, (32, *shape), dtype=np.uint8)
    else:
        rows = generator.standard_normal((32, *shape), dtype=np.float32)
    requests = {"infer": infer_request(model, rows[:1])}
    if model.takes_pictures:
        requests["classify"] = ("/classify", picture(), {"Content-Type": "image/jpeg"})
    del model
    # Before and after, the better counts: on a machine that others use, one figure may be anything.
    bare = {batch: bare_loop(path, rows[:batch], seconds) for batch in CLIENTS}
    http: dict[str, list[dict]] = {}
    with server_process(path, *options) as url:
        for name, request in requests.items():
            load(url, *request, clients=4, seconds=min(1.0, seconds))
            http[name] = [asdict(load(url, *request, clients=clients, seconds=seconds)) for clients in CLIENTS]
    bare = {batch: max(bare[batch], bare_loop(path, rows[:batch], seconds)) for batch in CLIENTS}
    return {"file": path.name, "bare_rows_per_second": {str(batch): rate for batch, rate in bare.items()}, "http": http}


def main() -> int:
    parser = argparse.ArgumentParser(description="How much of onnxruntime's speed does HTTP leave?")
    parser.add_argument("model", type=Path, nargs="?", help="an exported file")
    parser.add_argument("--quick", action="store_true", help="2 seconds for each figure instead of 10")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments, options = parser.parse_known_args()
    if arguments.model is None:
        print("nothing to measure: name an exported file")
        return 0
    figures = measure(arguments.model, 2 if arguments.quick else 10, *options)
    best = max(figures["bare_rows_per_second"].values())
    print(f"{figures['file']}, one row a request; bare loop, rows a second by batch:")
    print("  " + ", ".join(f"{batch}: {rate:.1f}" for batch, rate in figures["bare_rows_per_second"].items()))
    bars = []
    for name, results in figures["http"].items():
        for one in results:
            print(
                f"{name:<9}{one['clients']:>3} clients {one['per_second']:>9.1f} a second, "
                f"p50 {1000 * one['p50']:.1f} ms, p99 {1000 * one['p99']:.1f} ms"
            )
        share = results[-1]["per_second"] / best
        bars.append(
            {"name": f"{name}, 32 clients, of the bare loop", "value": share, "bar": ">= 0.85", "holds": share >= 0.85}
        )
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {100 * bar['value']:.0f} %")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
