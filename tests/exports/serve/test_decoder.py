"""Decoding within bounds on memory, also where nobody waits for the picture any more."""

import asyncio
import threading

import numpy as np
import pytest

from ulfine_cache.pictures.pixels import UndecodableImage
from ulfine_exports.serve.bounds.byte_budget import ByteBudget
from ulfine_exports.serve.decoder import Decoder

LARGE = 100 * 2**20


class Slow:
    """Decodes when it is let, and knows how many are at it."""

    def __init__(self):
        self.free = threading.Semaphore(0)
        self.running = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, data):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.free.acquire(timeout=30)
        with self.lock:
            self.running -= 1
        return np.zeros(4, np.uint8)


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def decoded(decoder, data=b"x"):
    async with decoder.decoded(data) as row:
        return len(row)


def made(slow, cost, total=150 * 2**20):
    budget = ByteBudget(total)
    return Decoder(slow, lambda data: cost, threads=4, max_queue=8, budget=budget), budget


def test_decoded__as_many_as_memory_holds():
    async def test():
        slow = Slow()
        decoder, budget = made(slow, LARGE)
        tasks = [asyncio.create_task(decoded(decoder)) for _ in range(3)]
        await until(lambda: slow.running == 1)
        for _ in range(3):
            slow.free.release()
        assert await asyncio.gather(*tasks) == [4, 4, 4]
        assert slow.most == 1
        await until(lambda: budget.held == 0)
        await decoder.end(5)

    asyncio.run(test())


def test_decoded__what_is_given_up_keeps_its_memory_until_it_is_done():
    async def test():
        slow = Slow()
        decoder, budget = made(slow, LARGE)
        task = asyncio.create_task(decoded(decoder))
        await until(lambda: slow.running == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (decoder.busy, budget.held) == (0, LARGE)
        second = asyncio.create_task(decoded(decoder))
        await asyncio.sleep(0.05)
        assert slow.running == 1
        slow.free.release()
        slow.free.release()
        assert await second == 4
        assert slow.most == 1
        await until(lambda: budget.held == 0)
        await decoder.end(5)

    asyncio.run(test())


def test_decoded__more_than_there_is():
    async def test():
        decoder, budget = made(Slow(), LARGE, total=LARGE - 1)
        with pytest.raises(UndecodableImage, match="decoding it takes 100 MB of memory"):
            await decoded(decoder)
        assert budget.held == 0
        await decoder.end(5)

    asyncio.run(test())
