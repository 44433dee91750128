"""A version and what came in, as the next version: the incoming rows keep the contract or nothing is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from mcp_server.core.contract import Column, Contract, Overrides, apply_overrides
from mcp_server.core.contract.keeping import keep_promises
from mcp_server.core.ingest.infer import DTYPES, infer_columns
from mcp_server.core.ingest.shape import filter_mask, with_derived
from mcp_server.core.ingest.violations import FIRST_ROWS, KINDS, Violation, refuse, violated, violation
from mcp_server.core.labels import label, place
from mcp_server.errors import DataRejected, InvalidInput

Mode = Literal["append", "upsert"]

_HINT = "Correct the rows, or import the whole table in full as a version with a contract of its own."
_INSTANT = DTYPES["datetime"]
_FEW_NUMBERS = 10
"""Up to so many different whole numbers are taken for classes."""
_ORDERED = frozenset({"integer", "number", "date", "datetime"})


@dataclass(frozen=True, slots=True)
class Extended:
    """The next version.

    Args:
        frame: the parent's rows, replaced ones in their places, then the added ones in the order of the file.
        contract: the parent's roles, units and expressions; ranges and allowed values as they are now.
        added, replaced: rows that came in.
        passed: rows of the file that the filter or the watermark left out.
        stayed: the parent's rows that weren't replaced, in their order.
        taken: the rows that came in, in the order of the file.
        rows: the number of each of those in the file, from 1.
    """

    frame: pl.DataFrame
    contract: Contract
    added: int
    replaced: int
    passed: int
    stayed: pl.DataFrame
    taken: pl.DataFrame
    rows: pl.Series


def text_columns(contract: Contract) -> frozenset[str]:
    """The columns of the file that have to be read as text, whatever they look like."""
    return frozenset(
        column.name for column in contract.columns if column.source == "file" and DTYPES[column.kind] == pl.String()
    )


def extend(
    parent: pl.DataFrame, contract: Contract, incoming: pl.DataFrame, *, mode: Mode, since: str | None = None
) -> Extended | None:
    """Add rows to a version, or replace those with the same key.

    Args:
        parent: the version's table, and its contract.
        incoming: as `read_table` gives it; the columns of the parent's file, in any order.
        mode: `append` adds every row; `upsert` replaces the row with the same key where there's one.
        since: a column of numbers or dates: only rows beyond the parent's largest value are taken.
    Returns:
        the next version; None where no row is beyond the largest value.
    Raises:
        DataRejected: `E_CONTRACT`: columns, kinds, missing values or keys that the contract doesn't allow; details hold
            `violations`, each with column, count and first rows. `E_NO_ROWS`: the filter passes none.
        InvalidInput: `upsert` without a key, or one that doesn't name rows; `since` isn't such a column.
    """
    if mode == "upsert" and (not contract.key or _repeated(parent, contract.key).any()):
        raise InvalidInput(
            "The data set has no key that names each row once, so that rows can't be replaced.",
            hint='Import it in full with roles such as {"id": "key"}, or append.',
        )
    taken = _conformed(incoming, contract)
    rows = pl.int_range(1, taken.height + 1, eager=True)
    taken = with_derived(taken, contract.derived)
    if contract.row_filter is not None:
        kept = filter_mask(taken, contract.row_filter)
        taken, rows = taken.filter(kept), rows.filter(kept)
        if not taken.height:
            raise DataRejected(
                "E_NO_ROWS", "None of the rows passes the data set's filter.", hint="Is it the right file?"
            )
    if since is not None:
        beyond = _beyond(taken, parent, contract.column(since))
        taken, rows = taken.filter(beyond), rows.filter(beyond)
        if not taken.height:
            return None
    taken = taken.select(pl.nth(taken.columns.index(name)) for name in parent.columns)
    _check_rows(taken, rows, parent, contract, mode)
    frame, stayed = _joined(parent, taken, contract.key if mode == "upsert" else ())
    replaced = parent.height - stayed.height
    return Extended(
        frame,
        _renewed(frame, contract),
        added=taken.height - replaced,
        replaced=replaced,
        passed=incoming.height - taken.height,
        stayed=stayed,
        taken=taken,
        rows=rows,
    )


def new_classes(parent: pl.DataFrame, taken: pl.DataFrame, contract: Contract) -> list[tuple[str, int]]:
    """The target's classes that came in and that the version didn't have, with their rows; the most rows first.

    A misspelt label becomes a class of its own, and nothing that is learned tells it from a true one.

    Args:
        taken: the rows that came in, as in `Extended`.
    Returns:
        nothing where the target has no classes yet, or is a number.
    """
    if contract.target is None:
        return []
    known = _unnamed(parent, contract.target).drop_nulls().unique()
    kind = contract.column(contract.target).kind
    few = kind == "integer" and known.len() <= _FEW_NUMBERS
    if not known.len() or not (few or kind in ("category", "text")):
        return []
    came = _unnamed(taken, contract.target).drop_nulls()
    counts = came.filter(~came.is_in(known.implode())).value_counts().sort("count", "values", descending=[True, False])
    return [(str(value), rows) for value, rows in counts.iter_rows()]


def _conformed(incoming: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The file's columns in the contract's order and types."""
    expected = [column for column in contract.columns if column.source == "file"]
    names = {column.name for column in expected}
    violations = [violation(column, at, "isn't in the file") for at, column in _lacking(contract, incoming)]
    further = [place(name, at) for at, name in enumerate(incoming.columns, start=1) if name not in names]
    if further:
        message = f"The file has {len(further)} columns that the data set doesn't have, first {further[0]}."
        violations.append({"message": message, "count": len(further)})
    if violations:
        refuse(violations, _HINT)
    columns = []
    for at, column in enumerate(contract.columns, start=1):
        if column.source != "file":
            continue
        values = _unnamed(incoming, column.name)
        cast, wrong = as_kind(values, DTYPES[column.kind])
        if wrong.any():
            violations.append(of_another_kind(column, at, wrong))
        columns.append(cast.alias(column.name))
    if violations:
        refuse(violations, _HINT)
    return pl.DataFrame(columns)


def _unnamed(frame: pl.DataFrame, name: str) -> pl.Series:
    # A name such as ^a.*$ would be a pattern to many of a column's own methods.
    return frame.get_column(name).alias("values")


def _lacking(contract: Contract, incoming: pl.DataFrame) -> list[tuple[int, Column]]:
    return [
        (at, column)
        for at, column in enumerate(contract.columns, start=1)
        if column.source == "file" and column.name not in incoming.columns
    ]


def as_kind(values: pl.Series, dtype: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """The values as another type, and a mask of those that would lose something."""
    nothing = values.is_null() & False
    if values.dtype == dtype:
        return values, nothing
    if values.null_count() == values.len():
        return pl.Series(values.name, [None], dtype=dtype).new_from_index(0, values.len()), nothing
    there = values.is_not_null()
    if values.dtype == pl.String:
        wrong = there & _unlike(values, dtype)
        return values, wrong if wrong.any() else there
    numeric = values.dtype.is_numeric() and dtype.is_numeric()
    if not numeric and {values.dtype, dtype} != {pl.Date(), _INSTANT}:
        return values, there
    if dtype == _INSTANT:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), nothing
    if values.dtype == _INSTANT:
        values = values.dt.replace_time_zone(None)
    cast = values.cast(dtype, strict=False)
    return cast, there & (cast.cast(values.dtype, strict=False) != values).fill_null(True)


def _unlike(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Which texts made the reader keep a column as text that is of another type elsewhere."""
    if dtype.is_numeric():
        return values.cast(dtype, strict=False).is_null() | values.str.contains(r"^[+-]?0[0-9]")
    if dtype == pl.Date():
        return values.str.to_date("%Y-%m-%d", strict=False).is_null()
    return values.is_not_null()


def of_another_kind(column: Column, position: int, wrong: pl.Series, rows: pl.Series | None = None) -> Violation:
    """What is wrong with a column whose values aren't of the contract's kind.

    Args:
        wrong: mask of those.
        rows: the number of each row in the file; None where all are there.
    """
    found = (wrong.arg_true() + 1 if rows is None else rows.filter(wrong)).head(FIRST_ROWS).to_list()
    what = f"must be {KINDS[column.kind]} as in the data set"
    return violation(column, position, what, count=int(wrong.sum()), rows=found)


def _beyond(taken: pl.DataFrame, parent: pl.DataFrame, column: Column) -> pl.Series:
    if column.kind not in _ORDERED:
        raise InvalidInput(
            f"{label(column.name)!r} can't tell what is new: its kind is {column.kind}.",
            hint="Name a column of numbers or dates that grows, such as the time column.",
        )
    largest = _unnamed(parent, column.name).max()
    values = _unnamed(taken, column.name)
    if largest is None:
        return values.is_not_null()
    return (values > largest).fill_null(False)


def _check_rows(taken: pl.DataFrame, rows: pl.Series, parent: pl.DataFrame, contract: Contract, mode: Mode) -> None:
    """Missing values and keys, as the contract allows them."""
    violations = []
    for at, column in enumerate(contract.columns, start=1):
        gone = _unnamed(taken, column.name).is_null()
        needed = not column.nullable or (mode == "upsert" and column.role == "key")
        if needed and gone.any():
            violations.append(violated(column, at, "must not be missing", gone, rows))
    key = contract.key
    if key and not violations and (mode == "upsert" or not _repeated(parent, key).any()):
        position = next(at for at, column in enumerate(contract.columns, start=1) if column.role == "key")
        first = contract.column(key[0])
        repeated = _repeated(taken, key)
        if repeated.any():
            violations.append(violated(first, position, "is the key and occurs more than once", repeated, rows))
        elif mode == "append":
            known = _matches(taken, parent, key).is_not_null()
            if known.any():
                what = "is the key and is in the data set already"
                violations.append(violated(first, position, what, known, rows))
    if violations:
        refuse(violations, _HINT)


def _keys(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    # The columns' own names could be patterns or clash with ours.
    return pl.DataFrame([frame.get_column(name).alias(f"k{at}") for at, name in enumerate(key)])


def _repeated(frame: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    return _keys(frame, key).is_duplicated()


def _matches(frame: pl.DataFrame, other: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """For each row, the index of the row with the same key in another table; missing where there's none."""
    wanted, there = _keys(frame, key), _keys(other, key).with_row_index("index")
    return wanted.join(there, on=wanted.columns, how="left", maintain_order="left").get_column("index")


def _joined(parent: pl.DataFrame, taken: pl.DataFrame, key: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All rows, and those of the parent that weren't replaced."""
    both = pl.concat([parent, taken], how="vertical", rechunk=True)
    if not key:
        return both, parent
    fresh = _matches(parent, taken, key)
    kept = pl.int_range(parent.height, eager=True)
    places = (fresh.cast(pl.Int64) + parent.height).fill_null(kept)
    known = _matches(taken, parent, key)
    added = known.is_null().arg_true().cast(pl.Int64) + parent.height
    return both[pl.concat([places, added])], parent.filter(fresh.is_null())


def _renewed(frame: pl.DataFrame, contract: Contract) -> Contract:
    inferred = Contract(
        columns=infer_columns(frame, list(contract.expressions)),
        derived=contract.derived,
        row_filter=contract.row_filter,
        made=contract.made,
    )
    stated = Overrides(
        roles={column.name: column.role for column in contract.columns},
        units={column.name: column.unit for column in contract.columns if column.unit is not None},
        # What is found in the new rows counts too.
        personal={column.name: True for column in contract.columns if column.personal},
    )
    renewed = apply_overrides(inferred, stated)
    return keep_promises(contract, renewed.model_copy(update={"synthetic": contract.synthetic}))
