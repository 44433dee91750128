"""What a call carries from the guard down to the transaction."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time, injected: `now` for records, `monotonic` for deadlines and durations."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


Progress = Callable[[float, float | None, str], Awaitable[None]]
"""(done, total or None, message) -> None; a no-op where the client didn't ask for progress."""


async def no_progress(done: float, total: float | None, message: str) -> None:
    """Discard progress: the client didn't ask for it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Args:
        id: a stable id: `local` on stdio, `key:<name>` for an API key.
        scopes: subset of `read data train predict deploy admin`.
    """

    id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class CallContext:
    """One tool call.

    Args:
        caller: who calls.
        request_id: unique for each call; it is in the log line, the audit row and masked errors.
        tool: the tool's name.
        key: the client's idempotency key, or None.
        arguments_digest: SHA-256 of the canonical arguments, hex; compared when a key comes again.
        deadline: on `clock.monotonic()`, seconds; None where the call isn't bounded.
        trace_id: the client's trace id (32 hex digits), or None.
    """

    caller: Caller
    request_id: str
    tool: str
    clock: Clock
    key: str | None = None
    arguments_digest: str = ""
    deadline: float | None = None
    trace_id: str | None = None
    progress: Progress = field(default=no_progress)

    def remaining(self) -> float | None:
        """Seconds until the deadline (may be negative), or None where there is none."""
        return None if self.deadline is None else self.deadline - self.clock.monotonic()

    async def report(self, fraction: float, message: str) -> None:
        """Tell the client how far the call is, as a fraction of 1."""
        await self.progress(fraction, 1.0, message)
