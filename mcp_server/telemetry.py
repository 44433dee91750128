"""What happened lately, in numbers: for `/metrics`, and for the health report.

Counting is plain Python and costs microseconds. The Prometheus library is imported when `/metrics` is first asked for,
so a start never pays for it. The module's functions count for this process; tests make their own `Telemetry`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mcp_server.context import SystemClock

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds."""

RECENT = 512
RECENT_LAGS = 20
MOST_ERRORS = 100
MOST_LABELS = 200
OTHER = "other"


class _Durations:
    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.total = 0.0
        self.recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds
        self.recent.append(seconds)


class Telemetry:
    """Counters, durations and recent errors. Any thread may count.

    Labels are bounded: from the 201st tool or outcome on they count as `other`, so no client can grow the memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, _Durations] = {}
        self._retries: Counter[str] = Counter()
        self._outcomes: set[str] = set()
        self._errors: deque[dict[str, str]] = deque(maxlen=MOST_ERRORS)
        self._running = 0
        self._dropped = 0
        self._lags: deque[float] = deque(maxlen=RECENT_LAGS)

    def record_call(
        self, tool: str, outcome: str, seconds: float, *, reference: str = "", at: datetime | None = None
    ) -> None:
        """Count one finished call.

        Args:
            tool: the tool or method.
            outcome: `ok`, `cancelled`, or the code of the error.
            seconds: from its arrival to its answer.
            reference: the request id, kept with a failure.
            at: the time of a failure; now when None.
        """
        with self._lock:
            tool = self._known(tool, self._durations)
            outcome = outcome if outcome in self._outcomes or len(self._outcomes) < MOST_LABELS else OTHER
            self._outcomes.add(outcome)
            self._calls[tool, outcome] += 1
            self._durations.setdefault(tool, _Durations()).add(seconds)
            if outcome not in ("ok", "cancelled"):
                when = (at or SystemClock().now()).isoformat(timespec="seconds")
                self._errors.append({"code": outcome, "tool": tool, "reference": reference, "at": when})

    def record_retry(self, tool: str) -> None:
        """Count one repeated attempt."""
        with self._lock:
            self._retries[self._known(tool, self._retries)] += 1

    def record_dropped_event(self) -> None:
        """Count one lineage event that its collector didn't get."""
        with self._lock:
            self._dropped += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a call as in flight while inside."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    async def watch_loop(self, interval: float = 0.5) -> None:
        """Measure, until cancelled, how late the event loop wakes: seconds beyond the interval."""
        loop = asyncio.get_running_loop()
        while True:
            asleep = loop.time()
            await asyncio.sleep(interval)
            self._lags.append(max(0.0, loop.time() - asleep - interval))

    @property
    def dropped_events(self) -> int:
        """Lineage events that no collector got."""
        return self._dropped

    @property
    def in_flight(self) -> int:
        return self._running

    @property
    def loop_lag(self) -> float:
        """The most seconds that the event loop woke too late, in the last 20 measurements (10 s)."""
        return max(tuple(self._lags), default=0.0)

    def recent_errors(self, most: int = 20) -> list[dict[str, str]]:
        """The last failed calls, newest first: code, tool, reference (the request id of log and answer), at."""
        with self._lock:
            return [dict(error) for error in self._errors][: -most - 1 : -1]

    def slowest(self, most: int = 5) -> list[dict[str, Any]]:
        """The tools with the highest 95th percentile: tool, calls (all), and p50_ms, p95_ms, max_ms of the last 512."""
        with self._lock:
            seen = {tool: (sum(taken.buckets), sorted(taken.recent)) for tool, taken in self._durations.items()}
        rows: list[dict[str, Any]] = [
            {
                "tool": tool,
                "calls": calls,
                "p50_ms": _percentile(taken, 50),
                "p95_ms": _percentile(taken, 95),
                "max_ms": _percentile(taken, 100),
            }
            for tool, (calls, taken) in seen.items()
        ]
        return sorted(rows, key=lambda row: row["p95_ms"], reverse=True)[:most]

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """The metric families, as `prometheus_client` asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        with self._lock:
            calls, retries = dict(self._calls), dict(self._retries)
            taken = {tool: (list(one.buckets), one.total) for tool, one in self._durations.items()}
        total = CounterMetricFamily("courtside_calls", "Finished calls.", labels=["tool", "outcome"])
        throttled = CounterMetricFamily("courtside_throttled", "Calls refused for their rate.", labels=["tool"])
        for (tool, outcome), count in calls.items():
            total.add_metric([tool, outcome], count)
            if outcome == "E_THROTTLED":
                throttled.add_metric([tool], count)
        durations = HistogramMetricFamily("courtside_call_seconds", "Duration of calls.", labels=["tool"])
        for tool, (buckets, seconds) in taken.items():
            durations.add_metric([tool], _cumulative(buckets), sum_value=seconds)
        retried = CounterMetricFamily("courtside_retries", "Attempts that were repeated.", labels=["tool"])
        for tool, count in retries.items():
            retried.add_metric([tool], count)
        running = GaugeMetricFamily("courtside_in_flight", "Calls that run now.", value=self._running)
        dropped = CounterMetricFamily(
            "courtside_lineage_events_dropped", "OpenLineage events that the collector didn't get.", value=self._dropped
        )
        lag = GaugeMetricFamily("courtside_event_loop_lag_seconds", "How late the loop woke.", value=self.loop_lag)
        return total, throttled, durations, retried, dropped, running, lag

    @staticmethod
    def _known(label: str, labels: Any) -> str:
        return label if label in labels or len(labels) < MOST_LABELS else OTHER


def _percentile(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile of sorted seconds, in milliseconds."""
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] * 1_000, 3)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    return [(bound, float(sum(buckets[: place + 1]))) for place, bound in enumerate(bounds)]


_process = Telemetry()
record_call = _process.record_call
record_retry = _process.record_retry
record_dropped_event = _process.record_dropped_event
running = _process.running
watch_loop = _process.watch_loop
recent_errors = _process.recent_errors
slowest = _process.slowest
render = _process.render
