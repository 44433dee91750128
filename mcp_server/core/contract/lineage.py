"""Which columns are computed from which, and what that makes of a column's role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mcp_server.core.expressions import parse
from mcp_server.core.labels import label
from mcp_server.errors import DataRejected

MARK = "_missing"
"""How the name of a column ends that says where a preparation filled another."""


def in_order(expressions: Mapping[str, str]) -> list[str]:
    """Order derived columns so that each comes after those that it's computed from.

    Args:
        expressions: derived name to expression.
    Returns:
        the derived names; the stated order where it's possible.
    Raises:
        DataRejected: `E_EXPRESSION`: a circle, or an expression that isn't in the language.
    """
    known: set[str] = set()
    waiting = {name: parse(text).columns & expressions.keys() for name, text in expressions.items()}
    ordered: list[str] = []
    while waiting:
        ready = [name for name, needs in waiting.items() if not (needs - known)]
        if not ready:
            raise DataRejected(
                "E_EXPRESSION",
                f"The derived column {label(next(iter(waiting)))!r} is computed from itself.",
                hint="Write each derived column from columns of the file or from other derived columns.",
            )
        ordered += ready
        known |= set(ready)
        waiting = {name: needs for name, needs in waiting.items() if name not in known}
    return ordered


def deciding(
    target: str, expressions: Mapping[str, str], made: Mapping[str, frozenset[str]] | None = None
) -> frozenset[str]:
    """Every column that the target is computed from, directly or through other computed columns.

    Args:
        made: computed without an expression: name to what it was made of.
    """
    sources = _sources(expressions, made)
    found: set[str] = set()
    reached = [target]
    while reached:
        fresh = sources.get(reached.pop(), frozenset()) - found
        found |= fresh
        reached += fresh
    return frozenset(found - {target})


def fill_marks(
    target: str, expressions: Mapping[str, str], made: Mapping[str, frozenset[str]]
) -> dict[str, str | None]:
    """Every column that is the target or decides it, with the one that marks which values a preparation filled in.

    >>> fill_marks("y", {}, {"y_missing": frozenset({"y"})})
    {'y': 'y_missing'}
    """
    names = {target, *deciding(target, expressions, made)}
    found: dict[str, str | None] = {}
    for name in sorted(names):
        mark = f"{name}_missing"
        found[name] = mark if mark not in names and made.get(mark) == frozenset({name}) else None
    return found


def tainted(
    known_after: Iterable[str], expressions: Mapping[str, str], made: Mapping[str, frozenset[str]] | None = None
) -> frozenset[str]:
    """Every computed column that is computed from one of `known_after`, directly or through others.

    Args:
        made: computed without an expression: name to what it was made of.
    """
    computed = _sources(expressions, made)
    sources = frozenset(known_after)
    found: set[str] = set()
    grown = True
    while grown:
        fresh = {name for name, needs in computed.items() if needs & (sources | found)} - found
        found |= fresh
        grown = bool(fresh)
    return frozenset(found - sources)


def _sources(expressions: Mapping[str, str], made: Mapping[str, frozenset[str]] | None) -> dict[str, frozenset[str]]:
    return {**(made or {}), **{name: parse(text).columns for name, text in expressions.items()}}
