"""`ulfine serve`: an exported file behind HTTP until it is told to stop."""

import contextlib
import importlib.util
import signal
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from ulfine_cache.command import arguments_of, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount
from ulfine_exports.serve.bounds.allocation import give_large_memory_back

if TYPE_CHECKING:
    from uvicorn import Server

    from ulfine_exports.serve.served_model import ServedModel
    from ulfine_exports.serve.service import Service

_MAX_CONNECTIONS = 1000
_KEEP_ALIVE = 60
_NEEDED = ("httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn")


@command
def serve(
    *,
    model: Path,
    host: str = "127.0.0.1",
    port: Annotated[int, Ge(0), Le(65535)] = 8000,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: Annotated[int, Ge(1)] | None = None,
    max_batch: Annotated[int, Ge(1)] | None = None,
    max_delay_ms: Annotated[float, Ge(0), Le(60_000)] = 5.0,
    max_queue: Annotated[int, Ge(1)] = 1024,
    max_body_mb: Annotated[int, Ge(1), Le(2048)] = 64,
    timeout: Annotated[float, Gt(0)] = 30.0,
    drain_seconds: Annotated[float, Ge(0), Le(3600)] = 0.0,
    allowed_host: Sequence[str] = (),
    cors_origin: Sequence[str] = (),
    api_key_file: Path | None = None,
    root_path: str = "",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Serve an exported file over HTTP until Ctrl+C.

    Open Inference Protocol v2 under ``/v2``, image files to ``/classify``, a page for people at ``/``, counts for
    Prometheus at ``/metrics``; ``/openapi.json`` describes it all. What is in flight at SIGINT or SIGTERM is finished;
    SIGHUP is ignored. Needs the extra serve. There is no encryption: put a proxy in front of it before others can reach
    it. What pages of others send is refused.

    Args:
        model: The exported ``.onnx`` file; it is not trusted.
        host: Address to listen at; ``0.0.0.0`` for all of IPv4.
        port: Port to listen at; 0 takes a free one.
        device: Where it runs; ``auto`` takes CUDA where it works, ``cuda`` insists.
        threads: CPU threads of onnxruntime; without it the CPUs that may be used.
        max_batch: Most rows that run together; without it 1024 rows of features, 64 pictures on CUDA, 8 on a CPU.
        max_delay_ms: Longest time in milliseconds for which a row is held back so that others join it.
        max_queue: Most rows that wait; more are refused (503).
        max_body_mb: Largest request in MB of 2^20 bytes; larger ones are refused (413).
        timeout: Most seconds for a body to arrive (408), and for an answer (503).
        drain_seconds: How long requests are still answered after SIGTERM, while ``/v2/health/ready`` says 503.
        allowed_host: A name by which the server may be asked, ``*.example.org`` for all below one, or ``*`` for all;
            others are refused (421). Loopback names are known, and all addresses where `host` is no loopback address.
        cors_origin: A web page, such as ``https://birds.example.org``, that may ask from browsers; ``*`` for all.
        api_key_file: File of keys, one a line; requests need one of them as ``Authorization: Bearer KEY`` (401), apart
            from health and the page, which asks for it.
        root_path: Where a proxy has put the server, such as ``/birds``.
        progress: Told where the server listens.

    Returns:
        Figures: ``model``, ``url``, ``device``, ``requests``, ``rows`` (classified), ``seconds``, when it has stopped.

    Raises:
        UsageError: A value is out of range, the device unknown, or a host or origin none.
        UlfineError: The file or that of the keys cannot be used, the address cannot, or the extra ``serve`` is missing.

    Example:
        >>> serve(model=Path("model.onnx"), port=8080)  # doctest: +SKIP
    """
    arguments = {**locals()}  # as the signature names them
    started = time.perf_counter()
    give_large_memory_back()
    with _opened(arguments, progress) as (server, listener, service, url):
        try:
            with _hangup_ignored():
                server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn finishes what is in flight, then raises the signal anew for those around it.
            if not server.should_exit:
                raise
    return {
        "model": str(model),
        "url": url,
        "device": service.model.device,
        "requests": service.metrics.requests,
        "rows": service.metrics.rows,
        "seconds": round(time.perf_counter() - started, 1),
    }


@contextlib.contextmanager
def serving(*, progress: Progress = Silent(), **options: Any) -> Generator[str]:  # noqa: B008
    """Serve in a thread of this process while the context lasts; what is in flight at its end is finished.

    Args:
        progress: As for `serve`.
        **options: Those of `serve`; the port is a free one unless given.

    Returns:
        The server's address.

    Raises:
        UsageError: As for `serve`.
        UlfineError: As for `serve`.

    Example:
        >>> import urllib.request
        >>> with serving(model=Path("model.onnx")) as url:
        ...     urllib.request.urlopen(f"{url}/v2/health/ready").status
        200
    """
    with _opened(arguments_of(serve, **{"port": 0, **options}), progress) as (server, listener, _, url):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="serve", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise UlfineError(f"the server at {url} did not start")
                time.sleep(0.005)
            yield url
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _opened(asked: Mapping[str, Any], progress: Progress) -> "Generator[tuple[Server, socket.socket, Service, str]]":
    """Everything but the loop: the server, its socket, its service and its address."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UlfineError(f"{missing[0]} is not installed: pip install 'ulfine-fast[serve]'")
    import uvicorn

    from ulfine_exports.serve.access.guard import Access
    from ulfine_exports.serve.access.listening import listen
    from ulfine_exports.serve.app import build_app
    from ulfine_exports.serve.connection import GuardedConnection
    from ulfine_exports.serve.served_model import ServedModel
    from ulfine_exports.serve.service import Limits, Service
    from ulfine_exports.serve.stopping import StoppingServer

    access = Access.of(
        asked["host"], asked["allowed_host"], asked["cors_origin"], asked["api_key_file"], asked["root_path"]
    )
    # The address first: to find it taken after a large file has been read would be a pity.
    with contextlib.closing(listen(asked["host"], asked["port"])) as listener:
        served = ServedModel(asked["model"], asked["device"], asked["threads"])
        limits = Limits(
            max_batch=asked["max_batch"] or _batch(served),
            max_delay=asked["max_delay_ms"] / 1000,
            max_queue=asked["max_queue"],
            max_body=asked["max_body_mb"] * 2**20,
            seconds=asked["timeout"],
        )
        service = Service(served, limits)
        config = uvicorn.Config(
            build_app(service, progress.note, access),
            http=GuardedConnection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=round(2 * asked["timeout"]) + 1,
        )
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        reason = "" if served.device_reason == "asked for" else f" ({served.device_reason})"
        progress.note(
            f"{asked['model']}: {served.metadata.input}, {amount(len(served.class_names), 'class')}, "
            f"on {served.device}{reason}, at {url} until Ctrl+C"
        )
        yield StoppingServer(config, service, asked["drain_seconds"]), listener, service, url


@contextlib.contextmanager
def _hangup_ignored() -> Generator[None]:
    """A terminal that is closed, or a supervisor that asks for a new configuration, does not end the server."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, former)


def _batch(served: "ServedModel") -> int:
    if served.metadata.input == "features":
        return 1024
    return 64 if served.device == "cuda" else 8
