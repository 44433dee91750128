"""How a tool is declared: a docstring, types, one call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from pydantic import BaseModel

from mcp_server.context import CallContext
from mcp_server.guard.arguments import arguments_model
from mcp_server.guard.spec import Hints, Scope, ToolSpec
from mcp_server.tools.params import Key
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import Reply

MOST_WORDS = 60
# In every answer, or of use to a person only: not worth their place in each conversation.
_UNLISTED = frozenset(
    {"next", "untrusted", "notes", "existing", "truncated", "message", "created_at", "left_out", "made_from"}
)


class Toolset:
    """The tools of one noun; it can be switched off as a whole.

    Args:
        name: such as `data`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.specs: list[ToolSpec] = []

    def tool(
        self, *, title: str, scope: Scope, hints: Hints, seconds: float | None = None, keyed: bool = False
    ) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
        """Declare a tool: its name is the function's, its description the docstring, its schema the types.

        Args:
            keyed: it takes an idempotency key, which the guard keeps to itself.
        """

        def declare(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            description = re.sub(r"\s+", " ", function.__doc__ or "").strip()
            if not description or len(description.split()) > MOST_WORDS:
                raise ValueError(f"{function.__name__}: a description has 1 to {MOST_WORDS} words")
            answer = get_type_hints(function)["return"]
            if not (isinstance(answer, type) and issubclass(answer, Reply)):
                raise TypeError(f"{function.__name__}: a tool returns an Reply")
            further = {"idempotency_key": (Key | None, None)} if keyed else {}
            arguments = arguments_model(function, **further)
            self.specs.append(
                ToolSpec(
                    name=function.__name__,
                    title=title,
                    description=description,
                    toolset=self.name,
                    scope=scope,
                    hints=hints,
                    run=_injected(function),
                    arguments=arguments,
                    answer=answer,
                    input_schema=input_schema(arguments),
                    output_schema=output_schema(answer),
                    seconds=seconds,
                )
            )
            return function

        return declare


def _injected(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The function as the guard calls it; a tool that needs no context of its call doesn't declare one."""
    if "call" in inspect.signature(function).parameters:
        return function

    async def run(app: App, call: CallContext, **arguments: Any) -> Any:  # noqa: ARG001 - the guard's form
        return await function(app, **arguments)

    return run


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of the arguments, without what costs context and says nothing."""
    schema: dict[str, Any] = _lean(model.model_json_schema())
    schema["additionalProperties"] = False
    schema.setdefault("properties", {})
    return schema


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The first level of the result's schema: names and types; what is nested is described by its data.

    Output schemas are over half of what some servers put into a conversation; the first level is what a client
    needs to pick a field.
    """
    properties = {}
    for name, field in model.model_json_schema(mode="serialization").get("properties", {}).items():
        if name in _UNLISTED:
            continue
        properties[name] = {"type": kind} if (kind := _type(field)) else {}
    return {"type": "object", "properties": properties}


def _type(field: dict[str, Any]) -> str | None:
    if "type" in field:
        return str(field["type"])
    kinds = {part.get("type") for part in field.get("anyOf", [])} - {"null"}
    if len(kinds) == 1:
        kind = kinds.pop()
        return None if kind is None else str(kind)
    return "object" if "$ref" in field else None


def _lean(schema: Any) -> Any:
    """Without titles, without `null` beside the one type of an optional argument, without integers beside numbers."""
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        name: (
            {inner: _lean(value) for inner, value in part.items()} if name in ("properties", "$defs") else _lean(part)
        )
        for name, part in schema.items()
        if not (name == "title" and isinstance(part, str))
        and name not in ("minProperties", "maxProperties")
        and not (name == "additionalProperties" and part is True)  # which is the default
    }
    options = schema.get("anyOf")
    if isinstance(options, list):
        if {"type": "number"} in options:  # an integer is a number
            options = schema["anyOf"] = [part for part in options if part != {"type": "integer"}]
        rest = [part for part in options if part != {"type": "null"}]
        if len(rest) == 1 and len(options) == 2:
            del schema["anyOf"]
            schema = {**rest[0], **schema}
            if schema.get("default", 0) is None:
                del schema["default"]
    return schema
