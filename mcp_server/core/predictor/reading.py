"""From what a caller sends to typed values: strict about names and types, silent about nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from math import isfinite

from mcp_server.core.labels import label
from mcp_server.errors import InvalidInput

_LARGEST = 2**63
_EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "category": "text",
    "date": "a date as YYYY-MM-DD",
    "datetime": "a time as YYYY-MM-DDTHH:MM:SS with its offset",
}

Typed = bool | int | float | str | date | datetime


def typed_value(column: str, kind: str, value: object) -> Typed:
    """Check one value that isn't null.

    Args:
        column: its name, for the message.
        kind: of the contract: integer, number, boolean, category, date or datetime.
    Returns:
        a number as float, a whole number as int (3.0 too), as in a table; 0 and 1 become booleans where one is
        expected; ISO text becomes a date, or a time in UTC (a time without offset is taken as UTC).
    Raises:
        InvalidInput: the type is wrong, or a number is infinite, not a number or beyond 64 bits.
    """
    if kind in ("number", "integer"):
        if isinstance(value, float):
            if not isfinite(value):
                raise InvalidInput(
                    f"Column {label(column)!r} must be a finite number.",
                    hint="Leave the column out, or send null, where the value is unknown.",
                    details={"column": label(column), "kind": "wrong_type"},
                )
            if kind == "number":
                return float(value)
            if value.is_integer() and abs(value) < _LARGEST:
                return int(value)
        elif isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST:
            return float(value) if kind == "number" else int(value)
    elif kind == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float) and value in (0, 1):
            return bool(value)
    elif kind == "category":
        if isinstance(value, str):
            return value
    else:
        moment = _moment(value, whole_day=kind == "date")
        if moment is not None:
            return moment
    raise InvalidInput(
        f"Column {label(column)!r} must be {_EXPECTED[kind]}; this is {_described(value)}.",
        hint="Send the value with the type of the model's training data, or null where it is unknown.",
        details={"column": label(column), "kind": "wrong_type"},
    )


def refuse_names(names: Iterable[object], required: tuple[str, ...], known: frozenset[str]) -> InvalidInput:
    """The refusal of a row with columns that the model doesn't know.

    Args:
        names: of the row.
        required: what the model reads, for the hint.
        known: `required` and what may be given besides.
    """
    strange = [label(str(name)) for name in names if name not in known]
    guesses = []
    for name in strange[:5]:
        close = get_close_matches(name, known, n=1)
        guesses.append(f"{name!r} (did you mean {label(close[0])!r}?)" if close else repr(name))
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    listed = ", ".join(repr(label(name)) for name in required[:20]) + (", ..." if len(required) > 20 else "")
    return InvalidInput(
        f"The model doesn't read {', '.join(guesses)}{more}.",
        hint=f"Its columns are: {listed}.",
        details={"columns": strange[:20], "kind": "unexpected_column"},
    )


def refuse_empty(required: tuple[str, ...]) -> InvalidInput:
    """The refusal of a row that gives none of the model's columns a value."""
    listed = ", ".join(repr(label(name)) for name in required[:20]) + (", ..." if len(required) > 20 else "")
    return InvalidInput("The row gives none of the model's columns a value.", hint=f"Its columns are: {listed}.")


def _moment(value: object, *, whole_day: bool) -> date | datetime | None:
    if isinstance(value, str):
        try:
            parsed: date = date.fromisoformat(value) if whole_day else datetime.fromisoformat(value)
        except ValueError:
            return None
        value = parsed
    if isinstance(value, datetime):
        if whole_day:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value if isinstance(value, date) and whole_day else None


def _described(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int):
        return "a whole number" if -_LARGEST <= value < _LARGEST else "a number beyond 64 bits"
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, list | tuple | Mapping):
        return "a list or an object"
    return "something else"
