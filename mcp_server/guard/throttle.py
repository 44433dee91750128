"""Rate per caller and tool: a burst queues within a bound, then is refused with a time to come back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from mcp_server.context import Clock
from mcp_server.errors import Throttled

_MOST_PAIRS = 10_000
# Sums of intervals differ from their product by rounding; a nanosecond is no wait.
_ROUNDING = 1e-9


class Throttle:
    """The generic cell rate algorithm, one cell for each caller and tool.

    Args:
        rate: calls a second, >= 0; 0 refuses every call.
        burst: calls at once before any waits, >= 0; below 1 counts as 1 unless the rate is 0.
        queue_seconds: the longest that a call may wait, seconds.
        queue_calls: the most calls of one caller that may wait at once, so that no caller starves another.
    Source:
        ITU-T I.371 (GCRA, virtual scheduling form).
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        queue_seconds: float,
        queue_calls: int,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / rate if rate > 0 else 0.0
        self._closed = rate <= 0 or burst <= 0
        self._tolerance = max(burst - 1, 0) * self._interval
        self._queue_seconds = queue_seconds
        self._queue_calls = queue_calls
        self._clock = clock
        self._sleep = sleep
        self._next: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._waiting: dict[str, int] = {}

    async def take(self, caller: str, tool: str) -> float:
        """Take one place, waiting for it if it comes soon enough.

        Returns:
            the seconds waited.
        Raises:
            Throttled: the rate is 0, the wait would be too long, or too many calls wait already.
        """
        if self._closed:
            raise Throttled(
                f"Calls to {tool} are switched off here.", hint="Ask whoever runs this server to allow them."
            )
        now = self._clock.monotonic()
        due = max(self._next.get((caller, tool), now), now)
        wait = due - self._tolerance - now
        if wait <= _ROUNDING:
            self._reserve(caller, tool, due)
            return 0.0
        waiting = self._waiting.get(caller, 0)
        if wait > self._queue_seconds or waiting >= self._queue_calls:
            raise Throttled(
                f"Too many calls to {tool}; the next is possible in {wait:.1f} s.",
                hint="Wait for that long, then call again; several rows fit into one predict call.",
                retry_after=round(wait, 3),
            )
        self._reserve(caller, tool, due)
        self._waiting[caller] = waiting + 1
        try:
            await self._sleep(wait)
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]
        return wait

    def _reserve(self, caller: str, tool: str, due: float) -> None:
        self._next[caller, tool] = due + self._interval
        self._next.move_to_end((caller, tool))
        if len(self._next) > _MOST_PAIRS:
            self._next.popitem(last=False)
