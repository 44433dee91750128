"""What differs between two versions of a table: rows, and what each column looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from mcp_server.core.contract import Column, Contract
from mcp_server.core.labels import label
from mcp_server.core.profile.measures import measure, shown

MOST_COLUMNS = 20
MOST_ROWS = 5
MOST_CELLS = 6
MOST_TOP = 3
HIDDEN = "hidden"
_FIGURES = ("missing", "min", "max", "mean", "top")


@dataclass(frozen=True, slots=True)
class Matched:
    """Which rows of two tables belong together.

    Args:
        by: `key`, where the same columns name each row of both once; else `content`: the columns that both have, and
            a row that changed counts as one removed and one added.
        before, after: row numbers (from 0) of the pairs, in the order of the later table.
        removed, added: row numbers without a partner, rising.
    """

    by: Literal["key", "content"]
    before: pl.Series
    after: pl.Series
    removed: pl.Series
    added: pl.Series


def difference(before: pl.DataFrame, old: Contract, after: pl.DataFrame, new: Contract) -> dict[str, Any]:
    """Describe what a later version of a table has otherwise than an earlier one.

    Args:
        before, after: the tables, each with its contract.
    Returns:
        `counts`: by, rows_added, rows_removed, rows_changed, rows_same (as in `Matched`), columns_changed (of those
        that both have). `columns`: at most 20 of these, those with the most changed rows first, each with name and, as
        [before, after], what differs of missing, min, max, mean and top, and rows_changed where rows have a key.
        `rows`: the first five added, removed and changed ones, with numbers from 1 and at most six cells. Texts are
        from data, at most 64 characters; values of personal columns are hidden.
    """
    shared = [name for name in before.columns if name in after.columns]
    personal = {column.name for contract in (old, new) for column in contract.columns if column.personal}
    matched = match(before, old, after, new)
    masks = {name: _changed(before, after, name, matched) for name in shared} if matched.by == "key" else {}
    touched = pl.repeat(False, matched.after.len(), eager=True)
    for mask in masks.values():
        touched |= mask
    columns = []
    for name in shared:
        was = _figures(before[name], old.column(name), name in personal)
        now = _figures(after[name], new.column(name), name in personal)
        entry: dict[str, Any] = {"name": label(name)}
        if name in masks and masks[name].any():
            entry["rows_changed"] = int(masks[name].sum())
        entry |= {part: [was.get(part), now.get(part)] for part in _FIGURES if was.get(part) != now.get(part)}
        if len(entry) > 1:
            columns.append(entry)
    columns.sort(key=lambda entry: -entry.get("rows_changed", 0))
    changed = int(touched.sum())
    return {
        "counts": {
            "by": matched.by,
            "rows_added": matched.added.len(),
            "rows_removed": matched.removed.len(),
            "rows_changed": changed,
            "rows_same": matched.after.len() - changed,
            "columns_changed": len(columns),
        },
        "columns": columns[:MOST_COLUMNS],
        "rows": {
            "added": _examples(after, new, matched.added, personal),
            "removed": _examples(before, old, matched.removed, personal),
            "changed": _pairs(before, after, new, matched, touched, masks, personal),
        },
    }


def match(before: pl.DataFrame, old: Contract, after: pl.DataFrame, new: Contract) -> Matched:
    """Pair the rows of two tables: by their key where it names each row once in both, else equal ones.

    Equal ones are found by a hash of 64 bits; of rows that occur several times the first ones are paired.
    """
    key = _key(before, old, after, new)
    shared = [name for name in before.columns if name in after.columns]
    if not shared:
        nothing = pl.Series([], dtype=pl.UInt32)
        every = [pl.int_range(frame.height, eager=True) for frame in (before, after)]
        return Matched("content", nothing, nothing, *every)
    ones, others = _alike(before, after, key or shared)
    if key is None:
        ones, others = (_numbered(one) for one in (ones, others))
    pairs = others.with_row_index("after").join(
        ones.with_row_index("before"), on=ones.columns, how="full", nulls_equal=True, coalesce=True
    )
    there = pl.col("before").is_not_null(), pl.col("after").is_not_null()
    both = pairs.filter(*there).sort("after")
    return Matched(
        "content" if key is None else "key",
        both["before"],
        both["after"],
        pairs.filter(~there[1])["before"].sort(),
        pairs.filter(~there[0])["after"].sort(),
    )


def _key(before: pl.DataFrame, old: Contract, after: pl.DataFrame, new: Contract) -> list[str] | None:
    if not new.key or set(old.key) != set(new.key):
        return None
    key = list(new.key)
    for frame in (before, after):
        values = frame.select(key)
        if any(frame[name].null_count() for name in key) or values.is_duplicated().any():
            return None
    return key


def _alike(before: pl.DataFrame, after: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Some columns of both in types that can be compared, under names that no data chose."""
    pairs = [_comparable(before[name], after[name]) for name in names]
    return (
        pl.DataFrame([pair[0].alias(f"k{at}") for at, pair in enumerate(pairs)]),
        pl.DataFrame([pair[1].alias(f"k{at}") for at, pair in enumerate(pairs)]),
    )


def _comparable(one: pl.Series, other: pl.Series) -> tuple[pl.Series, pl.Series]:
    if one.dtype == other.dtype:
        return one, other
    kind = pl.Float64() if one.dtype.is_numeric() and other.dtype.is_numeric() else pl.String()
    return one.cast(kind), other.cast(kind)


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Each row as its hash and how many like it stand before."""
    hashes = frame.hash_rows(seed=0).alias("k0").to_frame()
    return hashes.with_columns(pl.int_range(pl.len()).over("k0").alias("k1"))


def _changed(before: pl.DataFrame, after: pl.DataFrame, name: str, matched: Matched) -> pl.Series:
    one, other = _comparable(before[name].gather(matched.before), after[name].gather(matched.after))
    return one.ne_missing(other)


def _figures(values: pl.Series, column: Column, personal: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"missing": values.null_count()}
    if personal:
        return found
    text = column.kind in ("category", "text", "boolean")
    measured = measure(values.alias("values"), column, values.drop_nulls().n_unique() if text else 0)
    if "top" in measured:
        measured["top"] = measured["top"][:MOST_TOP]
    return found | measured


def _examples(frame: pl.DataFrame, contract: Contract, rows: pl.Series, personal: set[str]) -> list[dict[str, Any]]:
    names = _first(frame.columns, contract)
    return [
        {"row": row + 1, "values": {label(name): _cell(frame[name][row], name in personal) for name in names}}
        for row in rows.head(MOST_ROWS).to_list()
    ]


def _pairs(
    before: pl.DataFrame,
    after: pl.DataFrame,
    contract: Contract,
    matched: Matched,
    touched: pl.Series,
    masks: dict[str, pl.Series],
    personal: set[str],
) -> list[dict[str, Any]]:
    told = []
    for at in touched.arg_true().head(MOST_ROWS).to_list():
        rows = [int(matched.before[at]), int(matched.after[at])]
        changed = [name for name, mask in masks.items() if mask[at]]
        sides = [(before, rows[0]), (after, rows[1])]
        told.append(
            {
                "rows": [row + 1 for row in rows],
                "key": {
                    label(name): _cell(after[name][rows[1]], name in personal) for name in contract.key[:MOST_CELLS]
                },
                "values": {
                    label(name): [_cell(frame[name][row], name in personal) for frame, row in sides]
                    for name in changed[:MOST_CELLS]
                },
                **({"further_columns": len(changed) - MOST_CELLS} if len(changed) > MOST_CELLS else {}),
            }
        )
    return told


def _first(names: Sequence[str], contract: Contract) -> list[str]:
    """What tells a row from others first: its key, then the columns in their order."""
    return list(dict.fromkeys([*contract.key, *names]))[:MOST_CELLS]


def _cell(value: Any, hidden: bool) -> Any:
    if value is None:
        return None
    if hidden:
        return HIDDEN
    told = value if isinstance(value, bool) else shown(value)
    return label(told) if isinstance(told, str) else told
