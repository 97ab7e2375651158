"""Rows that wait at the same time run together, and everyone gets their own."""

import asyncio
import threading

import numpy as np
import pytest

from ulfine_exports.serve.batcher import Batcher
from ulfine_exports.serve.refusal import Refusal


class Doubling:
    """Doubles rows, keeps the sizes of the batches, and can be held up."""

    def __init__(self, held=False):
        self.batches = []
        self.free = threading.Event()
        if not held:
            self.free.set()

    def __call__(self, rows):
        assert self.free.wait(30)
        self.batches.append(rows.shape)
        if (rows == -13).any():
            raise RuntimeError("unlucky")
        return {"doubled": rows * 2}


def batcher(run, **options):
    return Batcher(run, **{"max_batch": 8, "max_delay": 0.0, "max_queue": 100, **options})


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def run(test):
    asyncio.run(asyncio.wait_for(test, 60))


def test_submit__everyone_gets_their_own():
    async def test():
        doubling = Doubling(held=True)
        subject = batcher(doubling)
        subject.start()
        parts = [np.full((1 + n % 3, 2), n, np.float32) for n in range(12)]
        tasks = [asyncio.create_task(subject.submit(part)) for part in parts]
        await until(lambda: 0 < subject.waiting < sum(map(len, parts)))
        doubling.free.set()
        for part, outputs in zip(parts, await asyncio.gather(*tasks), strict=True):
            assert np.array_equal(outputs["doubled"], part * 2)
        assert sum(shape[0] for shape in doubling.batches) == sum(map(len, parts))
        assert max(shape[0] for shape in doubling.batches) <= 8
        assert len(doubling.batches) < len(parts)
        await subject.stop()

    run(test())


def test_submit__more_than_a_batch():
    async def test():
        doubling = Doubling()
        subject = batcher(doubling)
        subject.start()
        rows = np.arange(42, dtype=np.float32).reshape(21, 2)
        assert np.array_equal((await subject.submit(rows))["doubled"], rows * 2)
        assert [shape[0] for shape in doubling.batches] == [8, 8, 5]
        await subject.stop()

    run(test())


def test_submit__other_shapes_run_apart():
    async def test():
        doubling = Doubling(held=True)
        subject = batcher(doubling)
        subject.start()
        parts = [np.full((1, 2 + n % 2), n, np.float32) for n in range(8)]
        tasks = [asyncio.create_task(subject.submit(part)) for part in parts]
        await asyncio.sleep(0.02)
        doubling.free.set()
        for part, outputs in zip(parts, await asyncio.gather(*tasks), strict=True):
            assert np.array_equal(outputs["doubled"], part * 2)
        assert len(doubling.batches) == 2
        await subject.stop()

    run(test())


def test_submit__held_back_for_company_but_not_for_ever():
    async def test():
        doubling = Doubling()
        expected = [1]
        subject = batcher(doubling, max_delay=30.0, expecting=lambda: expected[0])
        subject.start()
        first = asyncio.create_task(subject.submit(np.ones((1, 2), np.float32)))
        await asyncio.sleep(0.05)
        assert doubling.batches == []
        second = asyncio.create_task(subject.submit(np.ones((1, 2), np.float32)))
        await asyncio.sleep(0.01)
        expected[0] = 0
        await asyncio.gather(first, second)
        assert doubling.batches == [(2, 2)]
        expected[0] = 1  # what is expected never comes
        late = batcher(doubling, max_delay=0.05, expecting=lambda: 1)
        late.start()
        await late.submit(np.ones((1, 2), np.float32))
        await asyncio.gather(subject.stop(), late.stop())

    run(test())


def test_submit__full_batch_does_not_wait():
    async def test():
        doubling = Doubling()
        subject = batcher(doubling, max_delay=30.0, expecting=lambda: 1)
        subject.start()
        await subject.submit(np.ones((8, 2), np.float32))
        await subject.stop()

    run(test())


def test_submit__full_queue():
    async def test():
        doubling = Doubling(held=True)
        subject = batcher(doubling, max_batch=1, max_queue=3)
        subject.start()
        running = asyncio.create_task(subject.submit(np.ones((1, 2), np.float32)))
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(subject.submit(np.ones((3, 2), np.float32)))
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal, match="3 rows are waiting and at most 3 may"):
            await subject.submit(np.ones((1, 2), np.float32))
        waiting.cancel()
        await asyncio.sleep(0)
        assert subject.waiting == 0
        again = asyncio.create_task(subject.submit(np.ones((1, 2), np.float32)))
        await asyncio.sleep(0)
        doubling.free.set()
        await asyncio.gather(running, again)
        assert len(doubling.batches) == 2
        await subject.stop()

    run(test())


def test_submit__error_reaches_those_in_the_batch_only():
    async def test():
        subject = batcher(Doubling())
        subject.start()
        with pytest.raises(RuntimeError, match="unlucky"):
            await subject.submit(np.full((1, 2), -13, np.float32))
        assert (await subject.submit(np.ones((1, 2), np.float32)))["doubled"].tolist() == [[2, 2]]
        assert subject.working
        await subject.stop()
        assert not subject.working

    run(test())


def test_stop__lets_nobody_wait():
    async def test():
        doubling = Doubling(held=True)
        subject = batcher(doubling, max_batch=1)
        subject.start()
        tasks = [asyncio.create_task(subject.submit(np.ones((1, 2), np.float32))) for _ in range(3)]
        await asyncio.sleep(0.02)
        stopping = asyncio.create_task(subject.stop())
        await asyncio.sleep(0.02)
        doubling.free.set()
        await stopping
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )

    run(test())


def test_submit__large_rows_run_by_themselves():
    async def test():
        doubling = Doubling(held=True)
        subject = batcher(doubling, max_bytes=100)
        subject.start()
        first = asyncio.create_task(subject.submit(np.zeros((1, 1), np.float32)))
        await until(lambda: subject.waiting == 0)
        tasks = [asyncio.create_task(subject.submit(np.full((1, 10), n, np.float32))) for n in range(5)]
        await until(lambda: subject.waiting == 5)
        doubling.free.set()
        await asyncio.gather(first, *tasks)
        # 40 bytes each: two together, not three.
        assert [shape[0] for shape in doubling.batches] == [1, 2, 2, 1]
        await subject.stop()

    run(test())
