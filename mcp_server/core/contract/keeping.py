"""What of a contract still holds when its table has changed: the promises that a person made."""

from __future__ import annotations

from typing import Any

from mcp_server.core.contract.model import Column, Contract, Part
from mcp_server.core.expressions import parse
from mcp_server.errors import CourtsideError

_TEXTS = ("category", "text")
_PARTS: tuple[Part, ...] = ("nullable", "minimum", "maximum", "allowed", "pattern", "unique")


def keep_promises(before: Contract, after: Contract) -> Contract:
    """A contract that was measured on a changed table, with what was stated about the table before.

    Args:
        before: of the table that the other came from.
        after: as it was inferred anew; columns may be gone or new.
    Returns:
        `after` with the stated parts of columns that are of the same kind, the rules whose columns are still there and
        fit, groups, freshness and row bounds. What was only inferred before is as it was measured after.
    """
    old = {column.name: column for column in before.columns}
    columns = tuple(
        _kept(before, old[column.name], column) if column.name in old else column for column in after.columns
    )
    return keep_table_promises(before, Contract(**{**dict(after), "columns": columns}))


def keep_table_promises(before: Contract, after: Contract) -> Contract:
    """`after` with the rules, groups, freshness and row bounds of `before`, as far as they fit its columns."""
    kinds, time = after.kinds, after.time
    fresh = time is not None and kinds[time] in ("date", "datetime")
    return Contract(
        **{
            **dict(after),
            "rules": tuple(rule for rule in before.rules if _holds(rule.expression, kinds)),
            "unique_together": tuple(group for group in before.unique_together if kinds.keys() >= set(group)),
            "freshness": before.freshness if fresh else None,
            "row_bounds": before.row_bounds,
        }
    )


def _kept(before: Contract, one: Column, other: Column) -> Column:
    if one.kind != other.kind and not {one.kind, other.kind} <= set(_TEXTS):
        return other
    stated = [part for part in _PARTS if before.states(one, part) and _says(one, part)]
    parts: dict[str, Any] = {part: getattr(one, part) for part in stated}
    if parts.get("allowed") is not None:
        parts["kind"] = "category"
    low, high = (parts.get(part, getattr(other, part)) for part in ("minimum", "maximum"))
    if low is not None and high is not None and low > high:
        # What was measured lies outside what was stated: the statement stays, and the range ends there.
        parts["maximum" if "minimum" in parts else "minimum"] = low if "minimum" in parts else high
    unit = one.unit if other.unit is None else other.unit
    inferred = {part: sure for part, sure in other.inferred.items() if part not in stated}
    return Column.model_validate(dict(other) | parts | {"unit": unit, "inferred": inferred})


def _says(column: Column, part: Part) -> bool:
    """Whether a stated part says something: also that there is to be none, where the column was measured before."""
    if part in ("nullable", "unique"):
        return getattr(column, part) is (part == "unique")
    return getattr(column, part) is not None or bool(column.inferred)


def _holds(expression: str, kinds: dict[str, Any]) -> bool:
    try:
        return parse(expression).kind(kinds) == "boolean"
    except CourtsideError:
        return False
