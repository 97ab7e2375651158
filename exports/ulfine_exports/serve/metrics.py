"""What Prometheus scrapes at ``/metrics``."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ulfine_exports.serve.statistics import Statistics
from ulfine_fast.judging.accepted_rows import Thresholds, accepted_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_MOST_CLASSES = 1000
"""Above so many no class has a count of its own: each is a line of every answer."""

_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass
class _Histogram:
    """How many values fell up to each bound, and their sum."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds as text and the counts up to them, as Prometheus wants them."""
        seen, buckets = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        return buckets


class Metrics:
    """Counts of one server. prometheus_client, which takes a while to import, writes them when they are asked for.

    Attributes:
        requests: Requests answered.
        rows: Rows classified.
        statistics: The same as Triton counts it.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("classify", 200, 0.02)
        >>> b"ulfine_requests_total" in metrics.text()
        True
    """

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.statistics = Statistics()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, _Histogram] = {}
        self._batch_rows, self._waited, self._ran = _Histogram(_ROWS), _Histogram(_SECONDS), _Histogram(_SECONDS)
        self._confidences = _Histogram(_CONFIDENCES)
        self._labels: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._queues = (0, 0)

    def request(self, where: str, code: int, seconds: float) -> None:
        """Count an answered request; `where` comes from a fixed list, never from the client."""
        self.requests += 1
        self._answers[where, str(code)] += 1
        self._seconds.setdefault(where, _Histogram(_SECONDS)).observe(seconds)
        if where in ("infer", "classify"):
            self.statistics.request(seconds, good=code == 200)

    def batch(self, rows: int, waits: Sequence[float], ran: float) -> None:
        """Count a batch: its rows, how long each of its jobs waited, the oldest first, how long it ran, in seconds."""
        self.rows += rows
        self._batch_rows.observe(rows)
        self._waited.observe(waits[0])
        self._ran.observe(ran)
        self.statistics.batch(rows, waits, ran)

    def answered(
        self, probabilities: "NDArray[np.floating]", class_names: Sequence[str], thresholds: Thresholds | None
    ) -> None:
        """Count what was said of rows, float (n, C): what shows that the pictures have changed."""
        labels: list[int] = probabilities.argmax(axis=1).tolist()
        confidences: list[float] = probabilities.max(axis=1).tolist()
        for label, confidence in zip(labels, confidences, strict=True):
            self._confidences.observe(confidence)
            if len(class_names) <= _MOST_CLASSES:
                self._labels[class_names[label]] += 1
        if thresholds is not None:
            accepted = accepted_rows(probabilities, thresholds).tolist()
            self._accepted.update("yes" if sure else "no" for sure in accepted)

    def text(self, *, waiting: int = 0, decoding: int = 0) -> bytes:
        """Everything in Prometheus' text format, with the queues as they are now."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        self._queues = (waiting, decoding)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def collect(self) -> "Iterator[Metric]":
        """What prometheus_client asks a collector for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        answers = CounterMetricFamily("ulfine_requests", "Requests, by where and answer.", labels=["where", "code"])
        for labels, count in self._answers.items():
            answers.add_metric(labels, count)
        seconds = HistogramMetricFamily("ulfine_request_seconds", "From headers to answer.", labels=["where"])
        for where, histogram in self._seconds.items():
            seconds.add_metric([where], histogram.buckets(), histogram.total)
        yield from (answers, seconds)
        for name, text, histogram in (
            ("ulfine_batch_rows", "Rows that ran together.", self._batch_rows),
            ("ulfine_queue_seconds", "How long the oldest row of a batch waited.", self._waited),
            ("ulfine_run_seconds", "How long onnxruntime took for a batch.", self._ran),
            ("ulfine_confidence", "Confidence of the answers.", self._confidences),
        ):
            yield HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.total)
        labels = CounterMetricFamily("ulfine_answers", "Answers, by class.", labels=["class"])
        for name, count in self._labels.items():
            labels.add_metric([name], count)
        accepted = CounterMetricFamily("ulfine_accepted", "Answers, by whether accepted.", labels=["accepted"])
        for word, count in self._accepted.items():
            accepted.add_metric([word], count)
        yield from (labels, accepted)
        waiting, decoding = self._queues
        yield GaugeMetricFamily("ulfine_waiting_rows", "Rows that wait for a batch.", waiting)
        yield GaugeMetricFamily("ulfine_decoding_pictures", "Pictures that wait or are decoded.", decoding)
