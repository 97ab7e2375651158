"""What Prometheus scrapes at ``/metrics``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts of one server, in a registry of its own.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("classify", 200, 0.02)
        >>> b"ulfine_requests_total" in metrics.text()
        True
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        self._requests = Counter(
            "ulfine_requests", "Requests, by where and with which answer.", ["where", "code"], registry=own
        )
        self._seconds = Histogram(
            "ulfine_request_seconds", "From headers to answer.", ["where"], buckets=_SECONDS, registry=own
        )
        self._batch_rows = Histogram("ulfine_batch_rows", "Rows that ran together.", buckets=_ROWS, registry=own)
        self._waited = Histogram(
            "ulfine_queue_seconds", "How long the oldest row of a batch waited.", buckets=_SECONDS, registry=own
        )
        self._ran = Histogram(
            "ulfine_run_seconds", "How long onnxruntime took for a batch.", buckets=_SECONDS, registry=own
        )
        self._waiting = Gauge("ulfine_waiting_rows", "Rows that wait for a batch.", registry=own)
        self._decoding = Gauge("ulfine_decoding_pictures", "Pictures that wait or are being decoded.", registry=own)
        ProcessCollector(registry=own)
        self.requests = 0
        self.rows = 0

    def request(self, where: str, code: int, seconds: float) -> None:
        """Count an answered request; `where` comes from a fixed list, never from the client."""
        self.requests += 1
        self._requests.labels(where, str(code)).inc()
        self._seconds.labels(where).observe(seconds)

    def batch(self, rows: int, waited: float, ran: float) -> None:
        """Count a batch: its rows, how long the oldest waited, how long it ran, in seconds."""
        self.rows += rows
        self._batch_rows.observe(rows)
        self._waited.observe(waited)
        self._ran.observe(ran)

    def text(self, *, waiting: int = 0, decoding: int = 0) -> bytes:
        """Everything in Prometheus' text format, with the queues as they are now."""
        self._waiting.set(waiting)
        self._decoding.set(decoding)
        return generate_latest(self._registry)
