"""From a table as it came to a data set: derived columns, a row filter, and the contract that holds afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from mcp_server.core.contract import Contract, Derived, Kind, Overrides, Role, apply_overrides
from mcp_server.core.contract.lineage import in_order
from mcp_server.core.expressions import parse
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.ingest.infer import DTYPES, infer_columns, kind_of_dtype
from mcp_server.core.labels import label
from mcp_server.errors import BadTarget, DataRejected, InvalidInput

MAX_DERIVED = 100


def shape_table(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    time: str | None = None,
    roles: Mapping[str, Role] | None = None,
    row_filter: str | None = None,
    derived: Sequence[Derived] = (),
    key: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    personal: Mapping[str, bool] | None = None,
) -> tuple[pl.DataFrame, Contract]:
    """Compute the derived columns, keep the rows that pass the filter, and infer the contract.

    Args:
        frame: as `read_csv` gives it.
        target, time, roles, key, units, personal: statements about columns, file's or derived; see `Overrides`.
        row_filter: a condition over columns, file's or derived; rows where it's missing go.
        derived: in any order; at most 100.
    Returns:
        the frame with derived columns at its end, and its contract.
    Raises:
        DataRejected: `E_EXPRESSION`, `E_CONTRACT`, `E_NO_ROWS`.
        InvalidInput: an unknown column name; the hint says what was probably meant.
        BadTarget: the target has fewer than two different values, or is a date.
    """
    frame = with_derived(frame, derived)
    if row_filter is not None:
        frame = _filtered(frame, row_filter)
    if not frame.height:
        raise DataRejected("E_NO_ROWS", "The table has no rows.", hint="Import a table with at least one row.")
    columns = infer_columns(frame, [column.name for column in derived])
    contract = apply_overrides(
        Contract(columns=columns, derived=tuple(derived), row_filter=row_filter),
        Overrides(
            target=target,
            time=time,
            key=None if key is None else tuple(key),
            roles=dict(roles or {}),
            units=dict(units or {}),
            personal=dict(personal or {}),
        ),
    )
    if contract.target is not None:
        _check_target(frame, contract.target)
    return frame, contract


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


def _filtered(frame: pl.DataFrame, row_filter: str) -> pl.DataFrame:
    kept = frame.filter(filter_mask(frame, row_filter))
    if not kept.height:
        raise DataRejected(
            "E_NO_ROWS",
            f"None of {frame.height} rows passes the row filter.",
            hint="Check the filter against the ranges that describe_data shows.",
        )
    return kept


def _check_target(frame: pl.DataFrame, target: str) -> None:
    values = frame.get_column(target)
    if values.null_count() == values.len():
        raise BadTarget("Every value of the target is missing.", hint="Choose another target column.")
    if values.drop_nulls().n_unique() < 2:
        raise BadTarget(
            "The target has the same value in every row.", hint="Choose another target, or a wider row filter."
        )
