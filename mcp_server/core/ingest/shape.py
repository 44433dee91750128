"""From a table as it came to a data set: derived columns, a row filter, and the contract that holds afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mcp_server.core.contract import Column, Contract, Derived, Kind, Overrides, Role, apply_overrides
from mcp_server.core.contract.lineage import in_order
from mcp_server.core.expressions import parse
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.ingest.infer import DTYPES, infer_columns, kind_of_dtype
from mcp_server.core.ingest.parts import NewParts, Parts, in_parts
from mcp_server.core.labels import label
from mcp_server.errors import BadTarget, DataRejected, InvalidInput

MAX_DERIVED = 100


def shape_table(frame: pl.DataFrame, **statements: Any) -> tuple[pl.DataFrame, Contract]:
    """`shape_parts` for a table in memory.

    Args:
        frame: as `read_csv` gives it.
        statements: as for `shape_parts`.
    """
    parts, contract = shape_parts(in_parts(frame), **statements)
    return parts.whole(), contract


def shape_parts(
    parts: Parts,
    *,
    new_parts: NewParts = Parts,
    target: str | None = None,
    time: str | None = None,
    roles: Mapping[str, Role] | None = None,
    row_filter: str | None = None,
    derived: Sequence[Derived] = (),
    key: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    personal: Mapping[str, bool] | None = None,
) -> tuple[Parts, Contract]:
    """Compute the derived columns, keep the rows that pass the filter, and infer the contract.

    Args:
        parts: as `read_table` gives them; given up where they're changed.
        target, time, roles, key, units, personal: statements about columns, file's or derived; see `Overrides`.
        row_filter: a condition over columns, file's or derived; rows where it's missing go.
        derived: in any order; at most 100.
    Returns:
        the table with derived columns at its end, and its contract.
    Raises:
        DataRejected: `E_EXPRESSION`, `E_CONTRACT`, `E_NO_ROWS`.
        InvalidInput: an unknown column name; the hint says what was probably meant.
        BadTarget: the target has fewer than two different values, or is a date.
    """
    if derived or row_filter is not None:
        parts = _changed(parts, new_parts(), derived, row_filter)
    if not parts.height:
        raise DataRejected("E_NO_ROWS", "The table has no rows.", hint="Import a table with at least one row.")
    columns = infer_columns(parts, [column.name for column in derived])
    hidden = _computed_from_personal(columns, derived)
    contract = apply_overrides(
        Contract(columns=columns, derived=tuple(derived), row_filter=row_filter),
        Overrides(
            target=target,
            time=time,
            key=None if key is None else tuple(key),
            roles=dict(roles or {}),
            units=dict(units or {}),
            personal=dict.fromkeys(hidden, True) | dict(personal or {}),
        ),
    )
    if contract.target is not None:
        _check_target(parts.column(parts.columns.index(contract.target)).alias("values"))
    return parts, contract


def _computed_from_personal(columns: Sequence[Column], derived: Sequence[Derived]) -> set[str]:
    """The derived columns that copy a personal one, or a part of it; true or false tells too little of anyone."""
    expressions = {one.name: one.expression for one in derived}
    personal = {column.name for column in columns if column.personal}
    told = {column.name for column in columns if column.kind != "boolean"}
    found: set[str] = set()
    for name in in_order(expressions):
        if name in told and parse(expressions[name]).columns & (personal | found):
            found.add(name)
    return found


def _changed(parts: Parts, changed: Parts, derived: Sequence[Derived], row_filter: str | None) -> Parts:
    rows, before = parts.height, 0
    numbers: list[pl.Series] = []
    for frame in parts.drained():
        frame = with_derived(frame, derived)
        if row_filter is not None:
            kept = filter_mask(frame, row_filter)
            numbers.append(kept.arg_true().cast(pl.UInt32) + (before + 1))
            before += frame.height
            frame = frame.filter(kept)
        changed.put(frame)
    if numbers:
        changed.numbers = pl.concat(numbers)
    if rows and not changed.height:
        raise DataRejected(
            "E_NO_ROWS",
            f"None of {rows} rows passes the row filter.",
            hint="Check the filter against the ranges that describe_data shows.",
        )
    return changed


def _kinds(frame: pl.DataFrame) -> dict[str, Kind]:
    return {name: kind_of_dtype(dtype) for name, dtype in frame.schema.items()}


def with_derived(frame: pl.DataFrame, derived: Sequence[Derived]) -> pl.DataFrame:
    """The table with the derived columns at its end.

    Raises:
        DataRejected: `E_EXPRESSION`; `E_CONTRACT`: a derived column has the name of another one.
        InvalidInput: there are more than 100.
    """
    expressions = {column.name: column.expression for column in derived}
    if len(expressions) != len(derived) or expressions.keys() & set(frame.columns):
        taken = next((column.name for column in derived if column.name in frame.columns), derived[0].name)
        raise DataRejected(
            "E_CONTRACT",
            f"The derived column {label(taken)!r} has the name of another column.",
            hint="Give each derived column its own name.",
        )
    if len(expressions) > MAX_DERIVED:
        raise InvalidInput(f"There are {len(expressions)} derived columns; {MAX_DERIVED} are allowed.")
    computed: dict[str, pl.Series] = {}
    for name in in_order(expressions):
        known = frame.hstack(list(computed.values()))
        expression = parse(expressions[name])
        kind = expression.kind(_kinds(known))
        computed[name] = compute(expression, known).cast(DTYPES[kind]).alias(name)
    return frame.hstack([computed[column.name] for column in derived])


def filter_mask(frame: pl.DataFrame, row_filter: str) -> pl.Series:
    """Which rows pass a condition; where it's missing, they don't.

    Raises:
        DataRejected: `E_EXPRESSION`: not a condition over the columns.
    """
    expression = parse(row_filter)
    if expression.kind(_kinds(frame)) != "boolean":
        raise DataRejected(
            "E_EXPRESSION", "The row filter isn't a condition.", hint="Write a comparison, such as season >= 1985."
        )
    return compute(expression, frame).fill_null(False)


def _check_target(values: pl.Series) -> None:
    if values.null_count() == values.len():
        raise BadTarget("Every value of the target is missing.", hint="Choose another target column.")
    if values.drop_nulls().n_unique() < 2:
        raise BadTarget(
            "The target has the same value in every row.", hint="Choose another target, or a wider row filter."
        )
