"""Add columns of another data set: by equal keys, or as it was known at each row's time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mcp_server.core.contract import Column, Role
from mcp_server.core.expressions import parse
from mcp_server.core.labels import label
from mcp_server.core.preparing.plan import Join
from mcp_server.core.preparing.table import Context, DataTable, Done, columns_said
from mcp_server.errors import PlanRefused

DAY = 86_400_000_000  # microseconds
# Never features of the other table, and never time, key or target of this one.
_BROUGHT: dict[Role, Role] = {
    "feature": "feature",
    "known_after": "known_after",
    "target": "known_after",
    "time": "ignored",
    "key": "ignored",
    "ignored": "ignored",
}


def apply(step: Join, table: DataTable, context: Context) -> Done:
    """At most one row of the other table for each row, so that no row is doubled.

    A plain join needs keys that name one row each. With `as_of`, it's the latest row whose time lies before the row's
    own, or at it with `same_time`.

    Raises:
        PlanRefused: columns that aren't there, of other kinds, or whose names are taken; keys that name several rows;
            no time column; the table has made-up rows.
    """
    other = context.others[step.other]
    if table.contract.synthetic is not None:
        raise PlanRefused("The table has made-up rows.", hint="Join before augmenting or copying rows.")
    keys = step.on if isinstance(step.on, dict) else {name: name for name in step.on}
    for ours, theirs in keys.items():
        _same_kind(table.column(ours), _theirs(other, theirs), "key")
    brought = _brought(step, table, other, set(keys.values()))
    rows = _as_of(step, table, other, keys) if step.as_of else _equal(table, other, keys)
    found = rows >= 0
    place = np.where(found, rows, 0)
    hollow = [_hollow(other.frame.get_column(name)[place], found).alias(new) for name, new in brought.items()]
    roles: dict[str, Role] = {
        new: "feature" if name in step.features else _BROUGHT[other.column(name).role] for name, new in brought.items()
    }
    joined = table.put(
        hollow,
        of=_lineage(other, brought, step.features),
        roles=roles,
        personal=[new for name, new in brought.items() if other.column(name).personal],
        units={new: other.column(name).unit for name, new in brought.items()},
    )
    if step.how == "inner":
        joined = joined.take(np.flatnonzero(found))
    timed = not step.as_of and table.contract.time is not None and other.contract.time is not None
    note = " Both have times, which a plain join doesn't look at: state as_of if its rows come later." if timed else ""
    return Done(
        joined,
        f"Found a row for {int(found.sum()):,} of {table.rows:,} rows, added {columns_said(len(brought))}.{note}",
    )


def _brought(step: Join, table: DataTable, other: DataTable, keys: set[str]) -> dict[str, str]:
    """The columns that come over, to their names here."""
    skipped = keys | ({other.contract.time} if step.as_of else set())
    skipped |= set(other.contract.synthetic.columns) if other.contract.synthetic else set()
    names = step.columns or [column.name for column in other.contract.columns if column.name not in skipped]
    brought = {_theirs(other, name).name: f"{step.prefix}{name}" for name in names}
    unknown = [name for name in step.features if name not in brought]
    if unknown:
        raise PlanRefused(
            f"features names {label(unknown[0])!r}, which isn't among the columns that come over.",
            hint="Name columns of the other data set, without the prefix.",
        )
    if not brought:
        raise PlanRefused("No column comes over.", hint="The other data set has nothing but keys and time.")
    clash = next((new for new in brought.values() if new in table.frame.columns), None)
    if clash is not None:
        raise PlanRefused(
            f"There is a column {label(clash)!r} already.", hint="Give a prefix, or list columns without it."
        )
    return brought


def _equal(table: DataTable, other: DataTable, keys: Mapping[str, str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The index of the other table's row for each row, -1 where there is none."""
    theirs = _keyed(other, list(keys.values()))
    doubled = theirs.height - theirs.select(pl.struct(pl.exclude("row")).n_unique()).item() if theirs.height else 0
    if doubled:
        raise PlanRefused(
            f"{doubled:,} rows of the other data set share their key with another, so rows would be doubled.",
            hint="Name more key columns, state as_of, or prepare that data set first.",
        )
    ours = _renamed(table, keys)
    found = ours.join(theirs, on=[f"k{at}" for at in range(len(keys))], how="left", maintain_order="left")
    return found.get_column("row").fill_null(-1).to_numpy()


def _as_of(
    step: Join, table: DataTable, other: DataTable, keys: Mapping[str, str]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    ours, theirs = _time(table, "this"), _time(other, "the other")
    _same_kind(ours, theirs, "time")
    names = [f"k{at}" for at in range(len(keys))]
    right = _keyed(other, list(keys.values())).with_columns(_moment(other, theirs.name).alias("time"))
    # Of rows at one moment the last in the table's order is taken.
    right = right.drop_nulls("time").sort("time", maintain_order=True)
    left = _renamed(table, keys).with_columns(_moment(table, ours.name).alias("time")).with_row_index("place")
    right = right.with_columns(pl.col("time").alias("then"))
    known = left.drop_nulls().sort("time", maintain_order=True)
    found = known.join_asof(
        right,
        on="time",
        by=names,
        strategy="backward",
        allow_exact_matches=step.same_time,
        check_sortedness=False,  # both are sorted by time, which is enough within each key
    )
    rows = np.full(table.rows, -1, dtype=np.int64)
    rows[found.get_column("place").to_numpy()] = found.get_column("row").fill_null(-1).to_numpy()
    if step.within is not None:
        unit = DAY if ours.kind in ("date", "datetime") else 1
        age = (found.get_column("time") - found.get_column("then")).fill_null(0).to_numpy()
        rows[found.get_column("place").to_numpy()[age > step.within * unit]] = -1
    return rows


def _renamed(table: DataTable, keys: Mapping[str, str]) -> pl.DataFrame:
    return pl.DataFrame([table.frame.get_column(name).alias(f"k{at}") for at, name in enumerate(keys)])


def _keyed(other: DataTable, keys: list[str]) -> pl.DataFrame:
    """The real rows with whole keys: k0, k1, ... and their index as row."""
    frame = pl.DataFrame([other.frame.get_column(name).alias(f"k{at}") for at, name in enumerate(keys)])
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    return frame.filter(~pl.Series(other.synthetic())).drop_nulls()


def _time(table: DataTable, which: str) -> Column:
    if table.contract.time is None:
        raise PlanRefused(
            f"as_of needs a time column, and {which} data set has none.", hint="Import it with its time column stated."
        )
    return table.column(table.contract.time)


def _moment(table: DataTable, name: str) -> pl.Series:
    """Whole numbers in the order of time: microseconds, or the numbers themselves."""
    series = table.frame.get_column(name)
    return series if series.dtype.is_integer() else series.cast(pl.Datetime("us")).to_physical()


def _same_kind(ours: Column, theirs: Column, what: str) -> None:
    texts = {"text", "category"}
    if ours.kind == theirs.kind or {ours.kind, theirs.kind} <= texts:
        return
    # A day against an instant would let a row of the evening be known in the morning.
    raise PlanRefused(
        f"The {what} {label(ours.name)!r} is {ours.kind} here and {theirs.kind} in the other data set.",
        hint="Derive a column of the same kind, or import one of them with other options.",
    )


def _theirs(other: DataTable, name: str) -> Column:
    try:
        return other.column(name)
    except PlanRefused as refused:
        raise PlanRefused(f"The other data set has no column {label(name)!r}.", hint=refused.hint) from None


def _hollow(values: pl.Series, found: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pl.Series:
    return values.set(~pl.Series(found), None)


def _lineage(other: DataTable, brought: Mapping[str, str], features: list[str]) -> dict[str, frozenset[str]]:
    """What the other table's computed columns were made of, as far as that comes over too.

    Features are stated to be known: what they were made of lies before the row's own time as they do.
    """
    sources = {name: parse(text).columns for name, text in other.contract.expressions.items()}
    sources |= other.contract.ingredients
    return {
        new: frozenset(brought[source] for source in sources.get(name, frozenset()) if source in brought)
        for name, new in brought.items()
        if name not in features
    }
