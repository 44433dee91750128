"""One row at a time, in plain Python: what the server does with a request.

The rules, the same as over a whole table:
a missing value makes the result missing, but `and`, `or` need it only when it decides; so does a result that isn't a
finite number or, between whole numbers, doesn't fit 64 bits. A whole number beside another number is first made one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import NoReturn

from mcp_server.core.expressions.kinds import moment
from mcp_server.core.expressions.nodes import (
    Calculate,
    Call,
    Combine,
    Compare,
    Constant,
    Name,
    Node,
    Not,
    Within,
)
from mcp_server.core.expressions.parser import INT64
from mcp_server.errors import DataRejected

Cell = bool | int | float | str | date | datetime | None


def evaluate(node: Node, row: Mapping[str, object]) -> Cell:
    """The value of a node for one row; a column that the row lacks is missing.

    Raises:
        DataRejected: `E_EXPRESSION`: the row's values don't go together.
    """
    match node:
        case Name(name):
            return _cell(row.get(name))
        case Constant(value):
            return value
        case Calculate(operator, left, right):
            return _calculate(operator, evaluate(left, row), evaluate(right, row))
        case Compare(operator, left, right):
            return _compare(operator, evaluate(left, row), evaluate(right, row))
        case Within(operand, values):
            found = evaluate(operand, row)
            return None if found is None else any(_compare("==", found, value) for value in values)
        case Combine(operator, operands):
            return _combine(operator == "or", operands, row)
        case Not(operand):
            condition = _condition(evaluate(operand, row))
            return None if condition is None else not condition
        case Call(function, arguments):
            return _call(function, [evaluate(argument, row) for argument in arguments])


def _mismatch() -> NoReturn:
    raise DataRejected(
        "E_EXPRESSION",
        "A value doesn't fit the expression: numbers, text, dates and true/false don't mix.",
        hint="Send each value in its column's kind; describe_data lists them.",
    )


def _cell(value: object) -> Cell:
    match value:
        case None | bool() | str() | date():
            return value
        case int():
            return value if value in INT64 else None
        case float():
            return value if math.isfinite(value) else None
        case _:
            _mismatch()


def _number(value: Cell) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _mismatch()
    return value


def _condition(value: Cell) -> bool | None:
    if value is not None and not isinstance(value, bool):
        _mismatch()
    return value


def _fitting(value: int | float) -> int | float | None:
    if isinstance(value, int):
        return value if value in INT64 else None
    return value if math.isfinite(value) else None


def _calculate(operator: str, left: Cell, right: Cell) -> int | float | None:
    if left is None or right is None:
        return None
    one, other = _number(left), _number(right)
    if operator == "/" or isinstance(one, float) or isinstance(other, float):
        one, other = float(one), float(other)
    match operator:
        case "+":
            return _fitting(one + other)
        case "-":
            return _fitting(one - other)
        case "*":
            return _fitting(one * other)
        case "/":
            return None if other == 0 else _fitting(one / other)
        case _:
            return _remainder(one, other)


def _remainder(one: int | float, other: int | float) -> int | float | None:
    """`one - other * floor(one / other)`, step by step: fmod would round in another way than a table does."""
    if other == 0:
        return None
    if isinstance(one, int) and isinstance(other, int):
        return one % other
    quotient = one / other
    return _fitting(one - other * float(math.floor(quotient))) if math.isfinite(quotient) else None


def _compare(operator: str, left: Cell, right: Cell) -> bool | None:
    if left is None or right is None:
        return None
    ordering = _ordering(left, right, equality=operator in {"==", "!="})
    match operator:
        case "==":
            return ordering == 0
        case "!=":
            return ordering != 0
        case "<":
            return ordering < 0
        case "<=":
            return ordering <= 0
        case ">":
            return ordering > 0
        case _:
            return ordering >= 0


def _ordering(left: Cell, right: Cell, *, equality: bool) -> int:
    """-1, 0 or 1."""
    match left, right:
        case (bool(), bool()) if equality:
            return int(left) - int(right)
        case (str(), str()):
            return (left > right) - (left < right)
        case (date(), date() | str()) | (str(), date()):
            one, other = instant(left), instant(right)
            return (one > other) - (one < other)
        case _:
            first, second = _number(left), _number(right)
            if isinstance(first, float) or isinstance(second, float):
                first, second = float(first), float(second)
            return (first > second) - (first < second)


def instant(value: Cell) -> datetime:
    """A date at midnight, a time without a zone and ISO text, all as an instant in UTC."""
    if isinstance(value, str):
        value = moment(value)
    match value:
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case _:
            _mismatch()


def _combine(decisive: bool, operands: tuple[Node, ...], row: Mapping[str, object]) -> bool | None:
    unknown = False
    for operand in operands:
        condition = _condition(evaluate(operand, row))
        if condition is decisive:
            return decisive
        unknown = unknown or condition is None
    return None if unknown else not decisive


def _call(function: str, values: list[Cell]) -> Cell:
    if function == "is_missing":
        return values[0] is None
    if any(value is None for value in values):
        return None
    match function:
        case "year":
            return instant(values[0]).year
        case "month":
            return instant(values[0]).month
        case "weekday":
            return instant(values[0]).isoweekday()
        case "abs":
            return _fitting(abs(_number(values[0])))
        case "round":
            return _round(_number(values[0]), int(_number(values[1])))
        case _:
            numbers = [_number(value) for value in values]
            if any(isinstance(number, float) for number in numbers):
                numbers = [float(number) for number in numbers]
            return min(numbers) if function == "min" else max(numbers)


def _round(value: int | float, digits: int) -> int | float | None:
    if isinstance(value, int):
        return value
    scaled = value * 10.0**digits
    # Halves go to the even neighbour; Python's round(value, digits) would look at the decimal form instead.
    return float(round(scaled)) / 10.0**digits if math.isfinite(scaled) else None
