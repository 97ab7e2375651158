"""Work that a pool does ahead of whoever takes the results, in order and within bounds."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    pool: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Generator[_Result, None, None]:
    """Yield `function(item)` of all items in order, while a pool works on up to `ahead` more.

    Unlike `Executor.map` it draws an item only when there is room for it, so that memory stays bounded. Closing it
    cancels what has not begun.
    """
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
