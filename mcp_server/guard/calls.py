"""The call that is being served, for everything below admission."""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

from mcp_server.context import Caller

LOCAL = Caller("local", frozenset({"read", "data", "train", "predict", "deploy", "admin"}))


@dataclass(slots=True)
class CurrentCall:
    """Mutable on purpose: execution writes the outcome that admission logs."""

    caller: Caller = LOCAL
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    trace_id: str | None = None
    outcome: str = "ok"


_current: ContextVar[CurrentCall | None] = ContextVar("courtside_call", default=None)


def current_call() -> CurrentCall:
    """The admitted call; in-process calls that no transport brought run as the local user."""
    return _current.get() or CurrentCall()


set_current = _current.set
reset_current = _current.reset
