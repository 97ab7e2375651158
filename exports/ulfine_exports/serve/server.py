"""`ulfine serve`: an exported file behind HTTP until it is told to stop."""

import contextlib
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from uvicorn import Server

    from ulfine_exports.serve.served_model import ServedModel
    from ulfine_exports.serve.service import Service

_MAX_CONNECTIONS = 1000
_KEEP_ALIVE = 60
_NEEDED = ("httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn")


class ServeConfig(StrictConfig):
    """The parameters of `serve`."""

    model: Path
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    device: str = "auto"
    threads: int | None = Field(None, ge=1)
    max_batch: int | None = Field(None, ge=1)
    max_delay_ms: float = Field(5.0, ge=0, le=60_000)
    max_queue: int = Field(1024, ge=1)
    max_body_mb: int = Field(64, ge=1, le=2048)
    timeout: float = Field(30.0, gt=0)


def serve(
    *,
    model: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    threads: int | None = None,
    max_batch: int | None = None,
    max_delay_ms: float = 5.0,
    max_queue: int = 1024,
    max_body_mb: int = 64,
    timeout: float = 30.0,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Serve an exported file over HTTP until SIGINT or SIGTERM; what is in flight then is finished.

    The Open Inference Protocol v2 is under ``/v2``, pictures are classified at ``/classify``, people are served at
    ``/``, Prometheus at ``/metrics``; ``/openapi.json`` describes all of it. There is no encryption and nobody is
    asked who they are: what is to be reached from elsewhere belongs behind a proxy.

    Args:
        model: An exported ``.onnx`` file; it is not trusted. torch is not imported.
        host: Address to listen at; ``"0.0.0.0"`` for all of IPv4.
        port: Port to listen at; 0 takes a free one.
        device: ``"auto"`` takes CUDA where it works, else the CPU; ``"cpu"``; ``"cuda"`` insists.
        threads: CPU threads of onnxruntime; None takes the CPUs that this process may use.
        max_batch: Most rows that run together; None takes 1024 rows of features, 64 pictures on CUDA, and on a CPU 8,
            which are as fast as more and make nobody wait as long.
        max_delay_ms: Longest time in milliseconds for which a row is held back so that others can join it.
        max_queue: Most rows that wait; more are refused with 503.
        max_body_mb: Largest request in MB (2^20 bytes); larger ones are refused with 413.
        timeout: Longest time in seconds for a body to arrive (408), and for an answer to be computed (503).
        progress: Told where the server listens.

    Returns:
        ``model``, ``url``, ``device``, ``requests``, ``rows`` (classified) and ``seconds``, when it has stopped.

    Raises:
        UsageError: A value is out of range, or the device unknown.
        UlfineError: The file cannot be served, the address cannot be used, or the extra ``serve`` is missing.

    Example:
        >>> serve(model=Path("model.onnx"), port=8080)  # doctest: +SKIP
    """
    options = ServeConfig.checked(
        model=model,
        host=host,
        port=port,
        device=device,
        threads=threads,
        max_batch=max_batch,
        max_delay_ms=max_delay_ms,
        max_queue=max_queue,
        max_body_mb=max_body_mb,
        timeout=timeout,
    )
    started = time.perf_counter()
    with _opened(options, progress) as (server, listener, service, url):
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn finishes what is in flight, then raises the signal anew for those around it.
            if not server.should_exit:
                raise
    return {
        "model": str(options.model),
        "url": url,
        "device": service.model.device,
        "requests": service.metrics.requests,
        "rows": service.metrics.rows,
        "seconds": round(time.perf_counter() - started, 1),
    }


@contextlib.contextmanager
def serving(*, progress: Progress = Silent(), **options: Any) -> Iterator[str]:  # noqa: B008
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
    with _opened(ServeConfig.checked(**{"port": 0, **options}), progress) as (server, listener, _, url):
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
def _opened(options: ServeConfig, progress: Progress) -> "Iterator[tuple[Server, socket.socket, Service, str]]":
    """Everything but the loop: the server, its socket, its service and its address."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UlfineError(f"{missing[0]} is not installed: pip install 'ulfine-fast[serve]'")
    import uvicorn

    from ulfine_exports.serve.app import build_app
    from ulfine_exports.serve.connection import GuardedConnection
    from ulfine_exports.serve.served_model import ServedModel
    from ulfine_exports.serve.service import Limits, Service

    # The address first: to find it taken after a large file has been read would be a pity.
    with contextlib.closing(_listen(options.host, options.port)) as listener:
        served = ServedModel(options.model, options.device, options.threads)
        limits = Limits(
            max_batch=options.max_batch or _batch(served),
            max_delay=options.max_delay_ms / 1000,
            max_queue=options.max_queue,
            max_body=options.max_body_mb * 2**20,
            seconds=options.timeout,
        )
        service = Service(served, limits)
        config = uvicorn.Config(
            build_app(service, progress.note),
            http=GuardedConnection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=round(2 * options.timeout) + 1,
        )
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        reason = "" if served.device_reason == "asked for" else f" ({served.device_reason})"
        progress.note(
            f"{options.model}: {served.metadata.input}, {len(served.class_names)} classes, "
            f"on {served.device}{reason}, at {url} until Ctrl+C"
        )
        yield uvicorn.Server(config), listener, service, url


def _batch(served: "ServedModel") -> int:
    if served.metadata.input == "features":
        return 1024
    return 64 if served.device == "cuda" else 8


def _listen(host: str, port: int) -> socket.socket:
    """A socket that has the address, and does not accept anything yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UlfineError(f"cannot listen at {host} port {port} ({reason.lower()}): choose another") from error
    return listener
