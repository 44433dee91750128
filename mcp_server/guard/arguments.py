"""Strict arguments: unknown names refused with a suggestion, no coercion, no non-finite numbers, no echo.

Some clients send an array or object as a JSON string; where the tool expects one and no string, it is decoded.
"""

from __future__ import annotations

import difflib
import inspect
import json
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from mcp_server.errors import InvalidInput

INJECTED = ("app", "call")
_SECRETS = ("key", "token", "secret", "password", "credential")
_MOST_SHOWN = 5


def arguments_model(function: Callable[..., Any], **further: Any) -> type[BaseModel]:
    """The strict model of a tool's parameters, without those that the server fills in.

    Args:
        further: (type, default) of arguments that the guard takes itself.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in INJECTED:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints[name], default)
    return create_model(
        function.__name__,
        __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True),
        **fields,
        **further,
    )


def validated(model: type[BaseModel], arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the tool's parameters.

    Raises:
        InvalidInput: naming each argument that is missing, unknown or wrong, and no value of theirs.
    """
    unknown = [name for name in arguments if name not in model.model_fields]
    if unknown:
        _refuse_unknown(unknown, model)
    decoded = {
        name: _decoded(value) if isinstance(value, str) and _expects_structure(model, name) else value
        for name, value in arguments.items()
    }
    try:
        instance = model.model_validate(decoded)
    except ValidationError as invalid:
        raise InvalidInput(
            _sentence(invalid), hint="Correct the named arguments; tools/list has their types and bounds."
        ) from None
    return {name: getattr(instance, name) for name in model.model_fields}


def _refuse_unknown(unknown: list[str], model: type[BaseModel]) -> NoReturn:
    parts = []
    for name in unknown[:_MOST_SHOWN]:
        near = difflib.get_close_matches(name[:64], model.model_fields, n=1, cutoff=0.6)
        parts.append(f"{name[:64]!r} is not an argument" + (f"; did you mean {near[0]!r}?" if near else ""))
    if len(unknown) > _MOST_SHOWN:
        parts.append(f"and {len(unknown) - _MOST_SHOWN} more")
    known = ", ".join(model.model_fields) or "none"
    raise InvalidInput("Unknown argument: " + "; ".join(parts), hint=f"This tool takes: {known}.")


@lru_cache(maxsize=1_024)
def _expects_structure(model: type[BaseModel], name: str) -> bool:
    """Whether a list or an object is welcome and a string isn't."""
    kinds = _kinds(model.model_fields[name].annotation)
    return str not in kinds and bool(kinds & {list, dict})


def _kinds(annotation: Any) -> set[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return set().union(*(_kinds(part) for part in get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {dict}
    return {origin or annotation}


def _decoded(text: str) -> Any:
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _sentence(invalid: ValidationError) -> str:
    errors = invalid.errors(include_input=False, include_url=False, include_context=True)
    parts = [f"{_where(error['loc'])}: {_what(error)}" for error in errors[:_MOST_SHOWN]]
    if len(errors) > _MOST_SHOWN:
        parts.append(f"and {len(errors) - _MOST_SHOWN} more")
    return "; ".join(parts)


def _where(location: tuple[int | str, ...]) -> str:
    # Only what names a parameter or an index: union branches and values have no place in the message.
    parts = [str(part)[:64] for part in location[:3]]
    # Keys of rows and roles are column names: quoted, so that the guard can set them apart.
    return ".".join(part if part.isidentifier() or part.isdigit() else repr(part) for part in parts) or "arguments"


def _what(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "required"
    if kind == "extra_forbidden":
        return "not known here"
    if kind == "string_pattern_mismatch":
        return f"has characters that aren't allowed here, or none: it's to match {context['pattern']}"
    if kind == "value_error":
        return str(context.get("error", "not valid"))[:200]
    if any(word in str(error["loc"]).lower() for word in _SECRETS):
        return "not valid"
    return str(error["msg"])[:1].lower() + str(error["msg"])[1:200]
