"""The call that is being served, for everything below admission."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field

from mcp_server.context import Caller

LOCAL = Caller("local", frozenset({"read", "data", "train", "predict", "deploy", "admin"}))


def _fresh_id() -> str:
    """64 random bits: unique among the calls of any log, and the reference of an error."""
    return os.urandom(8).hex()


@dataclass(slots=True)
class CurrentCall:
    """Mutable on purpose: execution writes the outcome that admission logs."""

    caller: Caller = LOCAL
    request_id: str = field(default_factory=_fresh_id)
    trace_id: str | None = None
    outcome: str = "ok"


_current: ContextVar[CurrentCall | None] = ContextVar("courtside_call", default=None)


def current_call() -> CurrentCall:
    """The admitted call; in-process calls that no transport brought run as the local user."""
    return _current.get() or CurrentCall()


set_current = _current.set
reset_current = _current.reset
