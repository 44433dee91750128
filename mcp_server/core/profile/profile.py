"""The profile of a data set version: what a conversation can hold of it, whatever its size."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import polars as pl

from mcp_server.core.contract import Column, Contract
from mcp_server.core.ingest.parts import Parts, in_parts
from mcp_server.core.labels import label
from mcp_server.core.personal.find import find_personal, may_name_people
from mcp_server.core.profile.measures import measure, missing_and_distinct

MAX_BYTES = 16_000
_FIRST = {"target": 0, "time": 1, "key": 2}
_TOP_VALUES = (5, 3, 1, 0)


def profile(frame: pl.DataFrame | Parts, contract: Contract, *, max_columns: int = 50) -> dict[str, Any]:
    """Describe a table within 16 kB of JSON.

    Args:
        frame: in memory or in parts; at least one row; the contract's columns.
        max_columns: how many columns are described; target, time, key and flagged ones first. The rest is counted.
    Returns:
        `rows`, `columns`, `duplicate_rows`, `flags` (flag to number of columns), `listed` (one object a column, in the
        table's order), `unlisted` (how many, by kind) and `truncated` (whether something was left out to fit). A listed
        column has position (from 1), name (at most 64 characters, untrusted), kind, role, missing, distinct (may be
        approximate above 100,000 rows), flags; numbers min, max, mean, quantiles; others the most frequent values as
        pairs of text (at most 64 characters, untrusted) and count. A personal column shows what it holds (`e-mail`,
        `phone`...; `stated` where a person said so) and the share of sampled cells, no values; one whose values look
        like names of people has a `warning`.
    """
    parts = in_parts(frame)
    counts = missing_and_distinct(values.alias("values") for values in parts.series())
    flags = [
        column_flags(column, parts.height, missing, distinct)
        for column, (missing, distinct) in zip(contract.columns, counts, strict=True)
    ]
    order = sorted(range(len(flags)), key=lambda at: (_FIRST.get(contract.columns[at].role, 9 - bool(flags[at])), at))
    listed = {at: _entry(parts, contract, at, counts[at], flags[at]) for at in sorted(order[:max_columns])}
    hashes = pl.concat([rows.hash_rows() for rows in parts.frames()])
    result: dict[str, Any] = {
        "rows": parts.height,
        "columns": len(parts.columns),
        "duplicate_rows": parts.height - hashes.n_unique(),
        "flags": dict(sorted(Counter(flag for given in flags for flag in given).items())),
    }
    kept = order[:max_columns]
    for top in _TOP_VALUES:
        found = _assemble(result, contract, [_shortened(listed[at], top) for at in sorted(kept)], kept, top < 5)
        if _size(found) <= MAX_BYTES:
            return found
    while True:
        kept = kept[: len(kept) * 9 // 10]
        found = _assemble(result, contract, [_shortened(listed[at], 0) for at in sorted(kept)], kept, True)
        if _size(found) <= MAX_BYTES:
            return found


def column_flags(column: Column, rows: int, missing: int, distinct: int) -> list[str]:
    """What is remarkable about a column.

    Returns:
        of `all_missing`, `constant`, `all_unique`, `many_categories` (200 texts or more that aren't all different) and
        `high_missing` (more than half).
    """
    found = []
    if missing == rows:
        return ["all_missing"]
    if distinct == 1:
        found.append("constant")
    if column.unique and rows > 1:
        found.append("all_unique")
    if column.kind == "text" and distinct >= 200 and not column.unique:
        found.append("many_categories")
    if missing * 2 > rows:
        found.append("high_missing")
    return found


def _entry(parts: Parts, contract: Contract, at: int, counts: tuple[int, int], flags: list[str]) -> dict[str, Any]:
    column = contract.columns[at]
    entry: dict[str, Any] = {
        "position": at + 1,
        "name": label(column.name),
        "kind": column.kind,
        "role": column.role,
        "missing": counts[0],
        "distinct": counts[1],
    }
    if column.unit is not None:
        entry["unit"] = label(column.unit)
    if flags:
        entry["flags"] = flags
    if column.personal:
        found = find_personal(parts.column(at))
        return entry | {"personal": found.kind if found else "stated", "share": found.share if found else None}
    values = parts.column(at)
    if may_name_people(values):
        entry["warning"] = "may hold names of people"
    return entry | measure(values.alias("values"), column, counts[1])


def _shortened(entry: dict[str, Any], top: int) -> dict[str, Any]:
    if "top" not in entry:
        return entry
    rest = {key: value for key, value in entry.items() if key != "top"}
    return rest | {"top": entry["top"][:top]} if top else rest


def _assemble(
    result: dict[str, Any], contract: Contract, entries: list[dict[str, Any]], kept: list[int], cut: bool
) -> dict[str, Any]:
    shown = set(kept)
    kinds = Counter(column.kind for at, column in enumerate(contract.columns) if at not in shown)
    unlisted = {"count": sum(kinds.values()), "kinds": dict(sorted(kinds.items()))}
    return result | {"listed": entries, "unlisted": unlisted, "truncated": cut or bool(kinds)}


def _size(value: dict[str, Any]) -> int:
    """Bytes of the longest usual way to write it."""
    return len(json.dumps(value))
