"""What all routes of one server share: the model, the queues before it, and the bounds on them."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request

from ulfine_exports.inference.acceptable import answer_objection
from ulfine_exports.inference.providers import usable_cpus
from ulfine_exports.serve.batcher import Batcher, Outputs
from ulfine_exports.serve.bounds.byte_budget import ByteBudget
from ulfine_exports.serve.bounds.daemon_threads import DaemonThreads
from ulfine_exports.serve.bounds.json_cost import MAX_JSON_BYTES
from ulfine_exports.serve.decoder import Decoder
from ulfine_exports.serve.metrics import Metrics
from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from ulfine_exports.serve.served_model import ServedModel

_PICTURE_BYTES = 640 * 2**20
"""What may be taken by pictures that are decoded, and until they have been classified."""

_BATCH_BYTES = 64 * 2**20
"""Most bytes of rows that are put together: a batch of large pictures is one picture."""

_ANSWER_VALUES = 2**24
_ANSWER_BYTES = 2**29
_GRACE_SECONDS = 5.0
"""How long a picture that is being decoded may keep a server that has been told to stop."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Attributes:
        max_batch: Most rows that run together.
        max_delay: Seconds for which rows may be held back for company.
        max_queue: Most rows that wait, and most pictures that wait for being decoded.
        max_body: Bytes of one request; sixteen such bodies may be held at a time.
        seconds: How long a body may take to arrive, and the answer to be computed.
    """

    max_batch: int
    max_delay: float
    max_queue: int
    max_body: int
    seconds: float


class Service:
    """The model with everything around it that is not HTTP.

    Args:
        model: What is served.
        limits: The bounds.

    Attributes:
        model: As given.
        limits: As given.
        metrics: Counts.
        bodies: Budget of the bytes that clients have sent.
        parsing: Budget of what their JSON takes.
        answers: Budget of the bytes that clients have not fetched yet.
        stopping: No new work is wanted: not ready any more.
    """

    def __init__(self, model: "ServedModel", limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.metrics = Metrics()
        self.bodies = ByteBudget(16 * limits.max_body)
        self.parsing = ByteBudget(MAX_JSON_BYTES)
        self.answers = ByteBudget(_ANSWER_BYTES)
        self.stopping = False
        self._beside = DaemonThreads(1, "beside")
        self._decoder = Decoder(
            model.picture_row,
            model.picture_cost,
            threads=usable_cpus(),
            max_queue=limits.max_queue,
            budget=ByteBudget(_PICTURE_BYTES),
        )
        self._batcher = Batcher(
            model.run,
            max_batch=limits.max_batch,
            max_delay=limits.max_delay,
            max_queue=limits.max_queue,
            max_bytes=_BATCH_BYTES,
            expecting=lambda: self._decoder.busy,
            observe=self.metrics.batch,
        )

    @property
    def max_rows(self) -> int:
        """Most rows of one request: what fits the queue, and an answer of at most 16 million numbers."""
        values = len(self.model.class_names) * len(self.model.outputs)
        return max(1, min(self.limits.max_queue, _ANSWER_VALUES // values))

    @property
    def ready(self) -> bool:
        """Whether requests will be answered."""
        return self._batcher.working and not self.stopping

    def start(self) -> None:
        """Begin to run batches, in the running event loop."""
        self._batcher.start()

    async def stop(self) -> None:
        """End all threads, after the batch that runs."""
        self.stopping = True
        await self._batcher.stop()
        await self._decoder.end(_GRACE_SECONDS)
        await asyncio.to_thread(self._beside.end, _GRACE_SECONDS)

    async def beside(self, work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        """Call a function beside the event loop, which has other clients; one at a time, for it may take memory."""
        return await asyncio.wrap_future(self._beside.submit(work, *arguments, **options))

    async def rows(self, rows: NDArray[Any]) -> Outputs:
        """All outputs, (n, C) each, of (n, ...) rows; n may be 0.

        Raises:
            Refusal: Too many rows are waiting, 503; or the answer is not finite, 400.
        """
        if len(rows) == 0:
            empty = np.zeros((0, len(self.model.class_names)), np.float32)
            return {tensor.name: empty if tensor.row_shape else empty[:, 0] for tensor in self.model.outputs}
        outputs = await self._batcher.submit(rows)
        if reason := answer_objection(outputs):
            raise Refusal(400, reason)
        thresholds = self.model.metadata.thresholds
        self.metrics.answered(outputs["probabilities"], self.model.class_names, thresholds)
        return outputs

    async def picture(self, data: bytes) -> Outputs:
        """All outputs, (1, C) each, of one image file.

        Raises:
            UndecodableImage: The bytes give no picture.
            Refusal: As `rows`, or too many pictures are waiting.
        """
        async with self._decoder.decoded(data) as row:
            return await self.rows(row[None])

    async def unless_gone(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of some work, which is dropped when the client goes away or time is up.

        Args:
            request: Whose body has been read to its end.
            work: What is to be done for it.

        Raises:
            Refusal: It took too long; 503.
            ClientDisconnect: Nobody waits for the result any more.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(request.receive())
        try:
            done, _ = await asyncio.wait({task, gone}, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                return task.result()
            if gone in done:
                raise ClientDisconnect
            raise Refusal(503, f"there was no answer within {self.limits.seconds:g} s: try again later")
        finally:
            gone.cancel()
            task.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
            # An error knows this frame, and the task the error: the request would stay in memory for a while.
            del task, gone, work

    def metrics_text(self) -> bytes:
        """Prometheus' text with the queues as they are now."""
        return self.metrics.text(waiting=self._batcher.waiting, decoding=self._decoder.busy)
