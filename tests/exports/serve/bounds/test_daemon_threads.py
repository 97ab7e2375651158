"""Threads that a process does not wait for."""

import subprocess
import sys
import threading
import weakref

import pytest

from ulfine_exports.serve.bounds.daemon_threads import DaemonThreads


def test_submit__in_order_on_no_more_threads_than_asked_for():
    threads = DaemonThreads(2, "some")
    names = [threads.submit(lambda: threading.current_thread().ident) for _ in range(20)]
    assert len({name.result(10) for name in names}) <= 2
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    assert threads.submit(sum, [1], start=3).result(10) == 4
    assert threads.end(10)


def test_end__drops_what_has_not_begun_and_does_not_wait_longer_than_asked():
    threads, hold = DaemonThreads(1, "one"), threading.Event()
    running, waiting = threads.submit(hold.wait, 30), threads.submit(sum, [1])
    assert not threads.end(0.05)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="have ended"):
        threads.submit(sum, [1])
    hold.set()
    assert running.result(10)
    assert threads.end(10)


def test_submit__does_not_keep_what_failed():
    """An error knows the frames that it went through, and the future knows the error: a circle would hold a body."""
    import gc

    class Body:
        def fail(self):
            raise ValueError

    gc.collect()
    gc.disable()
    try:
        threads, body = DaemonThreads(1, "one"), Body()
        gone = weakref.ref(body)
        future = threads.submit(body.fail)
        assert isinstance(future.exception(10), ValueError)
        del body, future
        threads.end(10)
        assert gone() is None
    finally:
        gc.enable()


def test_process__ends_while_a_thread_works():
    code = """
import time
from ulfine_exports.serve.bounds.daemon_threads import DaemonThreads
DaemonThreads(1, "one").submit(time.sleep, 600)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
