"""A limit on groups as a gate: the groups that break it or can't be told come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcp_server.core.contract.fairness import StatedLimit
from mcp_server.core.gates.outcome import State

MOST_NAMED = 3
_ORDER: tuple[State, ...] = ("failed", "unknown", "passed")


@dataclass(frozen=True, slots=True)
class GroupRuling:
    """One group held against the largest one, as `core.fairness.rule` rules.

    Args:
        group: a name to show.
        value, low, high: of the ratio or difference; None where it isn't known, or `high` has no end.
        reason: why it can't be told, in words.
    """

    group: str
    state: State
    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One limit on the groups of one column, and what was found.

    Args:
        column, reference: names to show; `reference` is the largest group.
        problem: why nothing could be found, in words; empty otherwise.
    """

    column: str
    limit: StatedLimit
    reference: str = ""
    rulings: tuple[GroupRuling, ...] = ()
    problem: str = ""

    @property
    def gate(self) -> str:
        """Such as `fairness selection_rate ratio of sex`."""
        return f"fairness {self.limit.rate} {self.limit.kind} of {self.column}"


def judge_groups(found: GroupFacts) -> tuple[State, str]:
    """All groups together: failed where one fails, passed where all pass, with a sentence of the figures."""
    if found.problem or not found.rulings:
        return "unknown", found.problem or "There is only one group."
    states = [one.state for one in found.rulings]
    worst = min(states, key=_ORDER.index)
    shown = [_told(one) for one in found.rulings if one.state == worst][:MOST_NAMED]
    limit = found.limit.value
    asked = f"{limit:.3g} to {1.0 / limit:.3g}" if found.limit.kind == "ratio" else f"at most {limit:.3g} either way"
    return worst, (
        f"{'; '.join(shown)}{_rest(states, worst, len(shown))}. "
        f"Against {found.reference} the whole interval must be {asked}."
    )


def _told(one: GroupRuling) -> str:
    value = "not defined" if one.value is None else f"{one.value:.3g}"
    interval = ""
    if one.low is not None:
        interval = f" (95 %: {one.low:.3g} to {'no end' if one.high is None else f'{one.high:.3g}'})"
    why = f", not decidable with these rows: {one.reason}" if one.state == "unknown" else ""
    return f"{one.group}: {value}{interval}{why}"


def _rest(states: Sequence[State], worst: State, shown: int) -> str:
    same = states.count(worst) - shown
    others = [f"{count} {state}" for state in _ORDER if state != worst and (count := states.count(state))]
    parts = ([f"{same} more"] if same else []) + others
    return f" ({', '.join(parts)})" if parts else ""
