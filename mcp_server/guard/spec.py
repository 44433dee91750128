"""What the guard must know of a tool, as data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from mcp_server.workflows.reply import Reply

Scope = Literal["read", "data", "train", "predict", "deploy", "admin"]


@dataclass(frozen=True, slots=True)
class Hints:
    """The four hints of a tool, always explicit.

    Args:
        read_only: it changes nothing.
        destructive: it may remove or replace something.
        idempotent: the same call again changes nothing more; the guard may retry it.
        open_world: it talks to something outside this installation.
    """

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


READ_ONLY = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
ADDS = Hints(read_only=False, destructive=False, idempotent=False, open_world=False)
ADDS_ONCE = Hints(read_only=False, destructive=False, idempotent=True, open_world=False)
BRINGS_IN = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)
BRINGS_IN_ONCE = Hints(read_only=False, destructive=False, idempotent=True, open_world=True)
CHECKS = Hints(read_only=False, destructive=False, idempotent=True, open_world=True)
REPLACES = Hints(read_only=False, destructive=True, idempotent=True, open_world=False)
REMOVES = Hints(read_only=False, destructive=True, idempotent=False, open_world=False)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool.

    Args:
        run: called as `run(app, call, **arguments)` with validated arguments.
        arguments: the strict model of the arguments; unknown names are refused.
        answer: the model of the result.
        seconds: the time limit of one call, or None for the server's default.
    """

    name: str
    title: str
    description: str
    toolset: str
    scope: Scope
    hints: Hints
    run: Callable[..., Awaitable[Reply]]
    arguments: type[BaseModel]
    answer: type[Reply]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    seconds: float | None = None
