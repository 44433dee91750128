"""Whether who used a data set can use a later version: what breaks them, and what else is new."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_server.core.contract.model import Column, Contract, Part
from mcp_server.core.labels import label

_WIDER = {("integer", "number"), ("category", "text")}
"""Kinds that hold what others do and more: the way there breaks, the way back doesn't."""

_GRAVITY = {"info": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class Break:
    """Something that a consumer of the earlier version could rely on and no longer can.

    Args:
        what: a few words of ours.
        column: the column, where it's about one.
    """

    what: str
    column: str | None = None

    def __str__(self) -> str:
        return self.what if self.column is None else f"{label(self.column)!r} {self.what}"


def breaks(before: Contract, after: Contract) -> list[Break]:
    """What breaks consumers of `before` when they get a table that keeps `after`; nothing where it's compatible.

    New columns and narrower promises break nothing. A range, list or pattern that was only inferred says what was
    seen, so a wider one breaks nothing either; one that was stated is a promise.

    Returns:
        in the columns' order, then of the whole table.
    """
    found: list[Break] = []
    old, new = ({column.name: column for column in contract.columns} for contract in (before, after))
    for name, column in old.items():
        if name not in new:
            renamed = _renamed(column, old, new, before, after)
            what = "is gone" if renamed is None else f"is gone, perhaps renamed to {label(renamed)!r}"
            found.append(Break(what, name))
            continue
        found += [Break(what, name) for what in _column(before, after, column, new[name])]
    for what, one, other in (("target", before.target, after.target), ("time column", before.time, after.time)):
        if one != other and one is not None and one in new:
            found.append(Break(f"is no longer the {what}", one))
    if before.key and set(before.key) != set(after.key):
        found.append(Break("other columns name a row"))
    return found + _whole(before, after)


def _column(before: Contract, after: Contract, one: Column, other: Column) -> list[str]:
    found = []
    if one.kind != other.kind and (other.kind, one.kind) not in _WIDER:
        found.append(f"was {one.kind} and is {other.kind}")
    if other.nullable and not one.nullable:
        found.append("may be missing now")
    if one.unit is not None and one.unit != other.unit:
        found.append("has another unit")
    if one.role == "feature" and other.role != "feature":
        found.append(f"was a feature and is {other.role}")
    if before.expressions.get(one.name) != after.expressions.get(one.name):
        found.append("is computed otherwise")
    promised: tuple[tuple[Part, bool, str], ...] = (
        ("minimum", _looser(one.minimum, other.minimum, -1), "may be below its promised range"),
        ("maximum", _looser(one.maximum, other.maximum, 1), "may be above its promised range"),
        ("allowed", _more(one.allowed, other.allowed), "may have values that weren't promised"),
        ("pattern", one.pattern not in (None, other.pattern), "lacks its promised pattern"),
        ("unique", one.unique and not other.unique, "may hold a value twice"),
    )
    return found + [what for part, broken, what in promised if broken and before.states(one, part)]


def _looser(one: float | None, other: float | None, sign: int) -> bool:
    return one is not None and (other is None or sign * other > sign * one)


def _more(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> bool:
    return one is not None and (other is None or not set(other) <= set(one))


def _renamed(
    gone: Column, old: dict[str, Column], new: dict[str, Column], before: Contract, after: Contract
) -> str | None:
    """The new column in the same place and of the same kind, if there is one."""
    at = [column.name for column in before.columns].index(gone.name)
    if len(old) != len(new):
        return None
    stand_in = after.columns[at]
    return stand_in.name if stand_in.name not in old and stand_in.kind == gone.kind else None


def _whole(before: Contract, after: Contract) -> list[Break]:
    found = []
    rules = {rule.name: rule for rule in after.rules}
    for rule in before.rules:
        other = rules.get(rule.name)
        if other is None or other.expression != rule.expression:
            found.append(Break(f"the rule {rule.name} no longer holds as it was"))
        elif _GRAVITY[other.severity] < _GRAVITY[rule.severity]:
            found.append(Break(f"the rule {rule.name} is less strict"))
    groups = {frozenset(group) for group in after.unique_together}
    if not {frozenset(group) for group in before.unique_together} <= groups:
        found.append(Break("columns that were unique together no longer are"))
    one, other_freshness = before.freshness, after.freshness
    if one is not None and (
        other_freshness is None or other_freshness.against != one.against or other_freshness.days > one.days
    ):
        found.append(Break("it may be older than was promised"))
    least, most = _bounds(before)
    least_after, most_after = _bounds(after)
    if _looser(least, least_after, -1) or _looser(most, most_after, 1):
        found.append(Break("it may have fewer or more rows than was promised"))
    for rate, limits in before.fairness.items():
        held = after.fairness.get(rate)
        if held is None or held.looser_than(limits):
            found.append(Break(f"models are no longer held to its limit of {rate}"))
    if not _narrower(before.row_filter, after.row_filter):
        found.append(Break("its row filter no longer holds"))
    return found


def _narrower(one: str | None, other: str | None) -> bool:
    """Whether every row that the second filter keeps is one that the first keeps, as far as their texts say."""
    return one is None or other == one or (other is not None and other.startswith(f"({one}) and "))


def _bounds(contract: Contract) -> tuple[float | None, float | None]:
    bounds = contract.row_bounds
    return (None, None) if bounds is None else (bounds.minimum, bounds.maximum)
