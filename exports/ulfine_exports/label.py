"""`ulfine label`: a page on this machine on which people put labels right, quickly and with nothing lost."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from ulfine_cache.command import arguments_of, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from uvicorn import Server

    from ulfine_exports.labelling.desk import Desk

_NEEDED = {"httptools": "serve", "starlette": "serve", "uvicorn": "serve", "jinja2": "report"}
_HOST = "127.0.0.1"


@command
def label(
    *,
    cache: Path,
    run: Path | None = None,
    split: str | None = None,
    out: Path = Path("labels.csv"),
    port: Annotated[int, Ge(0), Le(65535)] = 8010,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Label and correct images in the browser until Ctrl+C.

    A page for the keyboard at the address that is printed: the images in the order of a queue, one at a time or twenty
    look-alikes at once, with what the run answers. Every decision is on the disk before the next image shows, and the
    same command goes on where it was. ``fit``, ``split`` and ``evaluate`` take the file with ``--apply``; the page fits
    again by itself, into a run beside the file. Only this machine can ask, and only with the token in the address.
    Needs the extras serve and report.

    Args:
        cache: Directory of the cache.
        run: A run on it, whose answers are offered; without it those of the text, where the cache has text.
        split: Named split whose labelled rows are known; by default that of the run, or else the cache's own sets.
        out: CSV file of decisions, which is made or gone on with: path, label, former label and time. Refits go beside
            it, into a folder of the same name with ``-run``.
        port: Port to listen at; 0 takes a free one.
        progress: Told the address.

    Returns:
        Figures: ``cache``, ``out``, ``url`` (without the token), ``decided`` (images in the file), ``decided_now``,
        ``refit`` (directory of the last run that was made, or None) and ``seconds``, when it has stopped.

    Raises:
        UlfineError: The cache, the run or the file cannot be used, another process is labelling into it, the port is
            taken, or an extra is missing.

    Example:
        >>> label(cache=Path("photos-cache"), run=Path("runs/first"))  # doctest: +SKIP
    """
    asked = {"cache": cache, "run": run, "split": split, "out": out, "port": port}
    started = time.perf_counter()
    with _opened(asked, progress) as (server, listener, desk, url):
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            if not server.should_exit:
                raise
    refit = desk.refit.figures
    return {
        "cache": str(cache),
        "out": str(out),
        "url": url.partition("?")[0],
        "decided": int(desk.now.decided.sum()),
        "decided_now": desk.now.made_now,
        "refit": None if refit is None else refit["run"],
        "seconds": round(time.perf_counter() - started, 1),
    }


@contextlib.contextmanager
def labelling(*, progress: Progress = Silent(), **options: Any) -> Generator[tuple[str, Desk]]:  # noqa: B008
    """Show the page from a thread of this process while the context lasts.

    Args:
        progress: As for `label`.
        **options: Those of `label`; the port is a free one unless given.

    Returns:
        The address with the token, and what the page is about.

    Raises:
        UsageError: As for `label`.
        UlfineError: As for `label`.

    Example:
        >>> options = {"cache": Path("photos-cache"), "run": Path("runs/first"), "out": Path("by-hand.csv")}
        >>> with labelling(**options) as (url, desk):
        ...     desk.state()["decided"]
        0
    """
    import threading

    with _opened(arguments_of(label, **{"port": 0, **options}), progress) as (server, listener, desk, url):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="label", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise UlfineError(f"the page at {url} did not start")
                time.sleep(0.005)
            yield url, desk
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _opened(asked: dict[str, Any], progress: Progress) -> Generator[tuple[Server, Any, Desk, str]]:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UlfineError(f"{missing[0]} is not installed: pip install 'ulfine-fast[serve,report]'")
    import uvicorn

    from ulfine_exports.labelling.app import build_app
    from ulfine_exports.labelling.door import new_token
    from ulfine_exports.serve.access.listening import listen
    from ulfine_exports.serve.connection import GuardedConnection

    with contextlib.closing(listen(_HOST, asked["port"])) as listener:
        port = listener.getsockname()[1]
        with contextlib.closing(_desk(asked, progress)) as desk:
            token = new_token()
            config = uvicorn.Config(
                build_app(desk, token, port, progress.note),
                http=GuardedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=2,
            )
            url = f"http://{_HOST}:{port}/?token={token}"
            progress.note(
                f"{amount(desk.cache.n_rows, 'image')}, {amount(desk.cache.n_classes, 'class')}; decisions go to "
                f"{asked['out']}; open {url} until Ctrl+C"
            )
            yield uvicorn.Server(config), listener, desk, url


def _desk(asked: dict[str, Any], progress: Progress) -> Desk:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.labelling.desk import Desk
    from ulfine_fast.evaluate import open_cache_of
    from ulfine_fast.run import load_run

    run = None if asked["run"] is None else load_run(asked["run"])
    cache = FeatureCache.open(asked["cache"]) if run is None else open_cache_of(run, asked["cache"])
    split = asked["split"]
    if split is None and run is not None:
        own = (run.provenance.get("split") or {}).get("requested")
        split = own if own in cache.split_names() else None
    refit_to = asked["out"].with_name(f"{asked['out'].stem}-run")
    return Desk(cache, split, run, asked["out"], refit_to, progress=progress)
