"""Threads for work that nobody can interrupt, such as the decoding of a picture."""

import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Work:
    future: "Future[Any]"
    call: Callable[[], Any]

    def do(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:
            self.future.set_exception(error)
            # The error knows this frame, and the future the error: what was worked on would stay until Python's
            # collector of circles comes by.
            self = None
        else:
            self.future.set_result(result)


class DaemonThreads(Executor):
    """As `concurrent.futures.ThreadPoolExecutor`, whose threads Python waits for at its end, however long they take.

    These end with the process: a server that has been told to stop does not hang on a picture.

    Args:
        count: Most threads; they are started when there is work for them.
        name: What they are called.

    Example:
        >>> threads = DaemonThreads(2, "adding")
        >>> threads.submit(sum, [1, 2]).result()
        3
        >>> threads.end(1.0)
        True
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._futures: set[Future[Any]] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._ended = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Call a function on one of the threads, in the order of submission."""
        future: Future[_T] = Future()
        work = _Work(future, functools.partial(fn, *args, **kwargs))
        with self._lock:
            if self._ended:
                raise RuntimeError("these threads have ended")
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            self._work.put(work)
            if len(self._threads) < self._count:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def end(self, seconds: float) -> bool:
        """Drop what has not begun, and wait for the rest as long as this; whether all is done."""
        with self._lock:
            self._ended = True
            waiting = list(self._futures)
        for future in waiting:
            future.cancel()
        for _ in self._threads:
            self._work.put(None)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work.do()
            # What was worked on is not to be held while the thread waits.
            del work
