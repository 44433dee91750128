"""Which kind of value an expression gives, from the kinds of its columns: mistakes are found before any row is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Literal

from mcp_server.core.expressions.nodes import (
    Calculate,
    Call,
    Combine,
    Compare,
    Constant,
    Name,
    Node,
    Not,
    Value,
    Within,
)
from mcp_server.core.expressions.parser import refusal
from mcp_server.core.labels import closest, label

Kind = Literal["integer", "number", "boolean", "category", "text", "date", "datetime"]
"""What a column holds. Whole numbers, other numbers, true/false, few or many different texts, days, instants (UTC)."""

_NUMERIC = frozenset({"integer", "number"})
_TEMPORAL = frozenset({"date", "datetime"})


def kind_of(node: Node, kinds: Mapping[str, Kind]) -> Kind:
    """The kind that a node gives; text is `text` (whether it's a category is a matter of the values).

    Raises:
        DataRejected: `E_EXPRESSION`: an unknown column, or kinds that don't go together.
    """
    match node:
        case Name(name):
            if name not in kinds:
                raise refusal(
                    f"There is no column {label(name)!r}.", closest(name, kinds) or "describe_data lists the names."
                )
            return "text" if kinds[name] == "category" else kinds[name]
        case Constant(value):
            return kind_of_value(value)
        case Calculate(operator, left, right):
            both = (_number(left, kinds, operator), _number(right, kinds, operator))
            return "integer" if operator != "/" and both == ("integer", "integer") else "number"
        case Compare(operator, left, right):
            _comparable(left, right, kind_of(left, kinds), kind_of(right, kinds), operator)
            return "boolean"
        case Within(operand, values):
            for value in values:
                _comparable(operand, Constant(value), kind_of(operand, kinds), kind_of_value(value), "==")
            return "boolean"
        case Combine(operator, operands):
            for operand in operands:
                _condition(operand, kinds, operator)
            return "boolean"
        case Not(operand):
            _condition(operand, kinds, "not")
            return "boolean"
        case Call():
            return _call(node, kinds)


def _call(node: Call, kinds: Mapping[str, Kind]) -> Kind:
    first, *rest = node.arguments
    match node.function:
        case "is_missing":
            kind_of(first, kinds)
            return "boolean"
        case "year" | "month" | "weekday":
            if kind_of(first, kinds) not in _TEMPORAL:
                raise refusal(f"{node.function}() needs a date.", "Is the column's kind date or datetime?")
            return "integer"
        case "round":
            return _number(first, kinds, "round")
        case _:
            given = {_number(argument, kinds, node.function) for argument in (first, *rest)}
            return "integer" if given == {"integer"} else "number"


def _number(node: Node, kinds: Mapping[str, Kind], operator: str) -> Literal["integer", "number"]:
    match kind_of(node, kinds):
        case "integer":
            return "integer"
        case "number":
            return "number"
        case kind:
            raise refusal(f"{operator} needs numbers, not {kind}.", "Compare text and dates; calculate with numbers.")


def _condition(node: Node, kinds: Mapping[str, Kind], operator: str) -> None:
    kind = kind_of(node, kinds)
    if kind != "boolean":
        raise refusal(f"{operator!r} needs conditions, not {kind}.", "Write the comparison out, such as neutral == 1.")


def _comparable(left: Node, right: Node, one: Kind, other: Kind, operator: str) -> None:
    if {one, other} <= _NUMERIC or {one, other} == {"text"}:
        return
    if {one, other} == {"boolean"} and operator in {"==", "!="}:
        return
    if {one, other} <= _TEMPORAL:
        return
    for node, kind in ((left, other), (right, one)):
        if kind in _TEMPORAL and isinstance(node, Constant) and isinstance(node.value, str):
            if moment(node.value) is None:
                raise refusal("A date is compared with text that isn't a date.", "Write dates as '2015-12-31'.")
            return
    raise refusal(f"{one} can't be compared with {other} by {operator}.", "Both sides must be of the same kind.")


def kind_of_value(value: Value) -> Kind:
    """The kind of a constant."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            return "text"


def moment(text: str) -> date | datetime | None:
    """Read an ISO date or instant; an instant without a zone is in UTC, one with a zone is moved there.

    >>> moment("2015-12-31")
    datetime.date(2015, 12, 31)
    """
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
