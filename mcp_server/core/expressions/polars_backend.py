"""A whole table at a time, with polars: the same rules as `evaluate`, which a law in the tests holds to.

Each node is computed once, as a column. Built as one polars expression, a value that is needed twice (is it missing?
is it finite?) would be computed twice at every level, and twenty levels would be a million times.
"""

from __future__ import annotations

import polars as pl

from mcp_server.core.expressions.evaluate import Cell, evaluate, instant
from mcp_server.core.expressions.expression import Expression
from mcp_server.core.expressions.kinds import moment
from mcp_server.core.expressions.nodes import (
    Calculate,
    Call,
    Combine,
    Compare,
    Name,
    Node,
    Not,
    Within,
    columns,
)
from mcp_server.core.expressions.parser import refusal

INSTANT = pl.Datetime("us", "UTC")


def to_polars(expression: Expression) -> pl.Expr:
    """The expression as one polars expression, for `select`, `with_columns` and `filter` of a frame.

    Raises (when it's run):
        DataRejected: `E_EXPRESSION`: the columns' types don't go together.
    """
    names = sorted(expression.columns)
    parts = [_named(name).alias(f"c{place}") for place, name in enumerate(names)]

    def run(packed: pl.Series) -> pl.Series:
        frame = packed.struct.unnest()
        frame.columns = names
        return compute(expression, frame)

    return pl.struct(parts).map_batches(run)


def _named(name: str) -> pl.Expr:
    # pl.col reads ^...$ as a pattern and * as every column.
    return pl.selectors.by_name(name).as_expr()


def compute(expression: Expression, frame: pl.DataFrame) -> pl.Series:
    """The expression for every row.

    Args:
        frame: has the expression's columns, as Int64, Float64 (finite), Boolean, String, Date or Datetime.
    Returns:
        shape (rows,).
    Raises:
        DataRejected: `E_EXPRESSION`: the columns' types don't go together.
    """
    return _node(expression.root, frame).alias("")


def _node(node: Node, frame: pl.DataFrame) -> pl.Series:
    if next(columns(node), None) is None:
        return _constant(evaluate(node, {}), frame.height)
    match node:
        case Name(name):
            return frame.get_column(name)
        case Calculate(operator, left, right):
            return _calculate(operator, _node(left, frame), _node(right, frame))
        case Compare(operator, left, right):
            return _compare(operator, _node(left, frame), _node(right, frame))
        case Within(operand, values):
            found = _node(operand, frame)
            matches = [_compare("==", found, _constant(value, frame.height)) for value in values]
            return _any(matches)
        case Combine("and", operands):
            return ~_any([~_condition(_node(operand, frame)) for operand in operands])
        case Combine(_, operands):
            return _any([_condition(_node(operand, frame)) for operand in operands])
        case Not(operand):
            return ~_condition(_node(operand, frame))
        case Call(function, arguments):
            return _call(function, [_node(argument, frame) for argument in arguments])
        case _:
            raise refusal("The expression can't be computed.")


def _constant(value: Cell, rows: int) -> pl.Series:
    dtype: pl.DataType | type[pl.DataType]
    match value:
        case bool():
            dtype = pl.Boolean()
        case int():
            dtype = pl.Int64()
        case float():
            dtype = pl.Float64()
        case str():
            dtype = pl.String()
        case _:
            dtype = pl.Null()
    return pl.Series([value], dtype=dtype).new_from_index(0, rows)


def _any(conditions: list[pl.Series]) -> pl.Series:
    result = conditions[0]
    for condition in conditions[1:]:
        result = result | condition
    return result


def _condition(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Null:
        return values.cast(pl.Boolean)
    if values.dtype != pl.Boolean:
        raise refusal("The expression combines columns that aren't conditions.")
    return values


def _choose(mask: pl.Series, chosen: pl.Series, otherwise: pl.Series | None = None) -> pl.Series:
    other = pl.lit(None) if otherwise is None else pl.lit(otherwise)
    return pl.select(pl.when(pl.lit(mask)).then(pl.lit(chosen)).otherwise(other)).to_series()


def _finite(values: pl.Series) -> pl.Series:
    return _choose(values.is_finite(), values) if values.dtype == pl.Float64 else values


def _numbers(*given: pl.Series, divided: bool = False) -> list[pl.Series]:
    """Bring numbers to one type: Int64 where all are whole, Float64 otherwise; nothing but missing is Int64."""
    if any(values.dtype not in {pl.Int64, pl.Float64, pl.Null} for values in given):
        raise refusal("The expression calculates with a column that isn't a number.")
    whole = not divided and all(values.dtype != pl.Float64 for values in given)
    return [values.cast(pl.Int64 if whole else pl.Float64) for values in given]


def _calculate(operator: str, left: pl.Series, right: pl.Series) -> pl.Series:
    one, other = _numbers(left, right, divided=operator == "/")
    if one.dtype == pl.Int64:
        # 128 bits hold any sum, difference or product of two 64-bit numbers; what doesn't fit back is missing.
        one, other = one.cast(pl.Int128), other.cast(pl.Int128)
    match operator:
        case "+":
            result = one + other
        case "-":
            result = one - other
        case "*":
            result = one * other
        case "/":
            result = _choose(other != 0, one / other)
        case _ if one.dtype == pl.Float64:
            quotient = _choose(other != 0, one / other)
            result = one - other * quotient.floor()
        case _:
            result = _choose(other != 0, one % _choose(other != 0, other, _constant(1, other.len()).cast(pl.Int128)))
    return _finite(result) if result.dtype == pl.Float64 else result.cast(pl.Int64, strict=False)


def _compare(operator: str, left: pl.Series, right: pl.Series) -> pl.Series:
    one, other = _comparable(left, right)
    match operator:
        case "==":
            return one == other
        case "!=":
            return one != other
        case "<":
            return one < other
        case "<=":
            return one <= other
        case ">":
            return one > other
        case _:
            return one >= other


def _comparable(left: pl.Series, right: pl.Series) -> tuple[pl.Series, pl.Series]:
    if pl.Null in {left.dtype, right.dtype}:
        dtype = left.dtype if right.dtype == pl.Null else right.dtype
        return (left.cast(dtype), right.cast(dtype)) if dtype != pl.Null else (left.cast(pl.Int64),) * 2
    if left.dtype == right.dtype and left.dtype in {pl.String, pl.Boolean}:
        return left, right
    if left.dtype.is_temporal() or right.dtype.is_temporal():
        return _instants(left), _instants(right)
    one, other = _numbers(left, right)
    return one, other


def _instants(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        texts = {text: moment(text) for text in values.unique() if text is not None}
        if None in texts.values():
            raise refusal("A date is compared with text that isn't a date.", "Write dates as '2015-12-31'.")
        days = [None if text is None else texts[text] for text in values]
        return pl.Series([None if day is None else instant(day) for day in days], dtype=INSTANT)
    if values.dtype == pl.Date:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(values.dtype, pl.Datetime):
        return values.cast(INSTANT) if values.dtype.time_zone else values.dt.replace_time_zone("UTC").cast(INSTANT)
    raise refusal("The expression compares a date with something else.")


def _call(function: str, values: list[pl.Series]) -> pl.Series:
    first = values[0]
    match function:
        case "is_missing":
            return first.is_null()
        case "year" | "month" | "weekday":
            instants = _instants(first).dt
            part = {"year": instants.year, "month": instants.month, "weekday": instants.weekday}[function]
            return part().cast(pl.Int64)
        case "abs":
            (number,) = _numbers(first)
            if number.dtype == pl.Float64:
                return number.abs()
            return number.cast(pl.Int128).abs().cast(pl.Int64, strict=False)
        case "round":
            (number,) = _numbers(first)
            if number.dtype == pl.Int64:
                return number
            # As a column: by a single number, polars multiplies with the reciprocal instead of dividing.
            (scale,) = _numbers(10.0 ** values[1].cast(pl.Float64))
            return _finite((number * scale).round(0, mode="half_to_even") / scale)
        case _:
            return _extreme(function, _numbers(*values))


def _extreme(function: str, numbers: list[pl.Series]) -> pl.Series:
    result = numbers[0]
    for number in numbers[1:]:
        chosen = _choose(number < result if function == "min" else number > result, number, result)
        result = _choose(number.is_not_null() & result.is_not_null(), chosen)
    return result
