"""What the statistics extension of Triton's protocol counts (docs/protocol/extension_statistics.md of its server)."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NANOSECONDS = 1e9


@dataclass
class _Duration:
    """How often something was done, and how long that took altogether."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def json(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * _NANOSECONDS)}


class Statistics:
    """Counts of the one model of a server.

    Example:
        >>> statistics = Statistics()
        >>> statistics.batch(3, [0.001], 0.01)
        >>> statistics.json("birds", "1")["inference_count"]
        3
    """

    def __init__(self) -> None:
        self._rows = self._batches = self._last = 0
        self._of = {
            name: _Duration()
            for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        }
        self._by_rows: defaultdict[int, _Duration] = defaultdict(_Duration)

    def batch(self, rows: int, waits: Sequence[float], ran: float) -> None:
        """Count a batch: its rows, how many seconds each of its requests waited, how many seconds it ran."""
        self._rows += rows
        self._batches += 1
        self._last = round(1000 * time.time())
        self._by_rows[rows].add(ran)
        for waited in waits:
            self._of["queue"].add(waited)
            self._of["compute_infer"].add(ran)

    def read(self, seconds: float) -> None:
        """Count the reading of a request."""
        self._of["compute_input"].add(seconds)

    def written(self, seconds: float) -> None:
        """Count the writing of an answer."""
        self._of["compute_output"].add(seconds)

    def request(self, seconds: float, *, good: bool) -> None:
        """Count a request from its headers to its answer."""
        self._of["success" if good else "fail"].add(seconds)

    def json(self, name: str, version: str) -> dict[str, Any]:
        """One entry of ``model_stats``."""
        none = _Duration().json()
        return {
            "name": name,
            "version": version,
            "last_inference": self._last,
            "inference_count": self._rows,
            "execution_count": self._batches,
            "inference_stats": {
                **{what: duration.json() for what, duration in self._of.items()},
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": rows, "compute_input": none, "compute_infer": ran.json(), "compute_output": none}
                for rows, ran in sorted(self._by_rows.items())
            ],
            "memory_usage": [],
        }
