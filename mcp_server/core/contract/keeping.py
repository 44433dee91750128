"""What of a contract still holds when its table has changed: the promises that a person made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp_server.core.contract.model import Column, Contract, Part
from mcp_server.core.contract.overrides import Overrides, apply_overrides
from mcp_server.core.expressions import parse
from mcp_server.errors import CourtsideError

_ALIKE = ({"category", "text"}, {"integer", "number"})
_PARTS: tuple[Part, ...] = ("nullable", "minimum", "maximum", "allowed", "pattern", "unique")


def keep_promises(before: Contract, after: Contract) -> Contract:
    """A contract that was measured on a changed table, with what was stated about the table before.

    Args:
        before: of the table that the other came from.
        after: as it was inferred anew; columns may be gone or new.
    Returns:
        `after` with the stated parts of columns that are of a like kind, the rules whose columns are still there and
        fit, groups, freshness, row bounds, what is sensitive, and limits on its groups. What was only inferred before
        is as it was measured after.
    """
    old = {column.name: column for column in before.columns}
    columns = tuple(
        _kept(before, old[column.name], column) if column.name in old else column for column in after.columns
    )
    return keep_table_promises(before, Contract(**{**dict(after), "columns": columns}))


def keep_table_promises(before: Contract, after: Contract) -> Contract:
    """`after` with what `before` promises of the whole table, as far as it fits the columns."""
    kinds, time = after.kinds, after.time
    fresh = time is not None and kinds[time] in ("date", "datetime")
    return Contract(
        **{
            **dict(after),
            "rules": tuple(rule for rule in before.rules if _holds(rule.expression, kinds)),
            "unique_together": tuple(group for group in before.unique_together if kinds.keys() >= set(group)),
            "freshness": before.freshness if fresh else None,
            "row_bounds": before.row_bounds,
            "fairness": before.fairness if after.sensitive else {},
        }
    )


@dataclass(frozen=True, slots=True)
class Inherited:
    """What was stated about a data set, carried over to a table that was imported anew.

    Args:
        contract: of the new table.
        kept: how many promises hold for it.
        lacking: names of columns that something was promised about and that aren't there.
        unlike: names of those that are there and of a kind that can't be held to it.
        lost: how many promises went, with columns that aren't there or otherwise.
    """

    contract: Contract
    kept: int
    lacking: tuple[str, ...]
    unlike: tuple[str, ...]
    lost: int


def inherit(before: Contract, after: Contract) -> Inherited:
    """Hold a table that was imported anew to what a person stated about the data set of its name.

    Args:
        before: of the newest version.
        after: as it was inferred, with what this import states; its roles stand. What is personal stays personal.
    """
    names = {column.name for column in after.columns}
    personal = {column.name: True for column in before.columns if column.personal and column.name in names}
    hidden = apply_overrides(after, Overrides(personal=personal)) if personal else after
    contract = keep_promises(before, hidden)
    new = {column.name: column for column in after.columns}
    wanted = _promised_columns(before)
    kept, all_promises = promises(contract), promises(before)
    return Inherited(
        contract,
        kept,
        lacking=tuple(name for name in wanted if name not in new),
        unlike=tuple(name for name in wanted if name in new and not alike(before.column(name), new[name])),
        lost=max(0, all_promises - kept),
    )


def promises(contract: Contract) -> int:
    """How many statements of a person a table, or a model that learns from it, can break."""
    return (
        sum(len(contract.promised(column)) for column in contract.columns)
        + len(contract.rules)
        + len(contract.unique_together)
        + (contract.freshness is not None)
        + (contract.row_bounds is not None)
        + len(contract.fairness)
    )


def alike(one: Column, other: Column) -> bool:
    """Whether what is promised of one column can be held against the other."""
    return one.kind == other.kind or any({one.kind, other.kind} <= kinds for kinds in _ALIKE)


def _promised_columns(contract: Contract) -> list[str]:
    """The columns that something is promised about, in order."""
    named = {column.name for column in contract.columns if contract.promised(column)}
    named |= {name for rule in contract.rules for name in parse(rule.expression).columns}
    named |= {name for group in contract.unique_together for name in group}
    named |= set(contract.sensitive) if contract.fairness else set()
    return [column.name for column in contract.columns if column.name in named]


def _kept(before: Contract, one: Column, other: Column) -> Column:
    if one.sensitive and not other.sensitive:
        other = other.model_copy(update={"sensitive": True})
    if not alike(one, other):
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
