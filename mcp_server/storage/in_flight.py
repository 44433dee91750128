"""What the guard needs to know of idempotency before anything of the database is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp_server.errors import InProgress

_running: set[tuple[str, str, str]] = set()


class Replayed(Exception):
    """Not a failure: the call had been done before, and here is what was answered then.

    Args:
        answer: the stored answer; its JSON is byte-equal to the first one's.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("the call was done before")
        self.answer = answer


@contextmanager
def in_flight(caller: str, tool: str, key: str) -> Iterator[None]:
    """Hold an idempotency key while its call runs in this process.

    Between processes the claim in the database decides.

    Raises:
        InProgress: at once, when the same caller's call of the same tool with this key is running.
    """
    held = (caller, tool, key)
    if held in _running:
        raise InProgress(
            "A call with this idempotency key is still running.",
            hint="Wait, then repeat the call with the same key to get its answer.",
            retry_after=1.0,
        )
    _running.add(held)
    try:
        yield
    finally:
        _running.discard(held)
