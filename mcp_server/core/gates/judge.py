"""Whether figures keep their limits. What can't be told doesn't pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mcp_server.core.gates.document import Bound, DataGates, VersionGates
from mcp_server.core.gates.fairness import GroupFacts, judge_groups
from mcp_server.core.gates.order_statistics import Quantile
from mcp_server.core.gates.outcome import Outcome, State

_NO_EVIDENCE: tuple[State, str] = (
    "unknown",
    "Which rows it was trained on isn't known: register it with test, the condition of rows that it wasn't.",
)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What was found of a model version.

    Args:
        reference: `name@version`.
        verified: the verdict of its verification, and what failed.
        test: metric to value, low and high (each None where it isn't known), on the test rows.
        train: metric to value on the rows learned from.
        age_days: since it was trained.
        latency_ms: quantile (`p50`, `p99`) to milliseconds for one row; None where it wasn't measured.
        groups: what was found of each limit on groups that holds for it.
        not_compared: why its groups couldn't be compared, in words; empty where they could.
        unseen: whether the test rows are rows that it wasn't trained on; not known of a model from elsewhere.
    """

    reference: str
    verified: bool
    failed_checks: tuple[str, ...]
    test: Mapping[str, Mapping[str, Any]]
    train: Mapping[str, float]
    age_days: float
    latency_ms: Mapping[str, Quantile] | None
    groups: tuple[GroupFacts, ...] = ()
    not_compared: str = ""
    unseen: bool = True


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What was found of a data set version.

    Args:
        verdict: of its validation.
        reasons: of findings that aren't just information, the gravest first.
    """

    reference: str
    verdict: Literal["pass", "warn", "fail"]
    reasons: tuple[str, ...]
    rows: int
    age_days: float


def judge_model(gates: VersionGates, facts: ModelFacts) -> list[Outcome]:
    """Every gate of a model; after a failed verification the stored figures say nothing, so nothing else passes."""

    def told(gate: str, state: State, detail: str) -> Outcome:
        return Outcome(facts.reference, gate, state, detail)

    if not facts.verified:
        checks = ", ".join(facts.failed_checks[:5]) or "no check was done"
        rest = [name for name, _ in _model_gates(gates, facts)]
        return [
            told("verification", "failed", f"Its verification failed: {checks}."),
            *[told(name, "unknown", "Its figures can't be trusted, as its verification failed.") for name in rest],
        ]
    outcomes = [told("verification", "passed", "Every required check passed.")]
    return outcomes + [told(name, state, detail) for name, (state, detail) in _model_gates(gates, facts)]


def judge_data(gates: DataGates, facts: DataFacts) -> list[Outcome]:
    """Every gate of a data set."""
    grave = ("pass", "warn", "fail")
    kept = grave.index(facts.verdict) <= grave.index(gates.allow)
    reasons = " ".join(facts.reasons[:3])
    found: list[tuple[str, tuple[State, str]]] = [
        ("validation", ("passed" if kept else "failed", f"The verdict is {facts.verdict}. {reasons}".strip()))
    ]
    if gates.min_rows is not None:
        detail = f"{facts.rows:,} rows; at least {gates.min_rows:,} are wanted."
        found.append(("rows", ("passed" if facts.rows >= gates.min_rows else "failed", detail)))
    if gates.max_age_days is not None:
        found.append(("age", _age(facts.age_days, gates.max_age_days)))
    return [Outcome(facts.reference, name, state, detail) for name, (state, detail) in found]


def _model_gates(gates: VersionGates, facts: ModelFacts) -> Iterator[tuple[str, tuple[State, str]]]:
    for name, bound in gates.metrics.items():
        judged = _bounded(facts.test.get(name), bound, sorted(facts.test))
        yield name, judged if facts.unseen else _NO_EVIDENCE
    for name, most in gates.gap.items():
        yield f"{name} gap", _gap(name, facts, most) if facts.unseen else _NO_EVIDENCE
    if gates.latency_ms is not None:
        for name, limit in (("p50", gates.latency_ms.p50), ("p99", gates.latency_ms.p99)):
            if limit is not None:
                yield f"latency {name}", _latency(facts.latency_ms, name, limit)
    if gates.max_age_days is not None:
        yield "age", _age(facts.age_days, gates.max_age_days)
    if facts.not_compared:
        yield "fairness", ("unknown", facts.not_compared)
    for found in facts.groups:
        yield found.gate, judge_groups(found) if facts.unseen else _NO_EVIDENCE


def _bounded(found: Mapping[str, Any] | None, bound: Bound, known: list[str]) -> tuple[State, str]:
    if found is None:
        return "unknown", f"It has no such metric; it has {', '.join(known)}."
    value, low, high = found["value"], found["low"], found["high"]
    wanted = " and ".join(
        part
        for part in (
            f"at least {bound.min:g}" if bound.min is not None else "",
            f"at most {bound.max:g}" if bound.max is not None else "",
        )
        if part
    )
    shown = f"{value:.4g}" + (f" (95 %: {low:.4g} to {high:.4g})" if low is not None and high is not None else "")
    if bound.by == "interval":
        if low is None or high is None:
            return "unknown", f"{shown}: too few rows for an interval, which must be {wanted}."
    else:
        low = high = value
    kept = (bound.min is None or low >= bound.min) and (bound.max is None or high <= bound.max)
    part = "the whole interval must be " if bound.by == "interval" else "must be "
    return ("passed" if kept else "failed"), f"{shown}; {part}{wanted}."


def _gap(name: str, facts: ModelFacts, most: float) -> tuple[State, str]:
    test, train = facts.test.get(name), facts.train.get(name)
    if test is None or train is None:
        return "unknown", "It isn't known for both the test rows and the rows learned from."
    from mcp_server.core.metrics.direction import HIGHER_IS_BETTER  # its package loads numpy

    gap = float(test["value"] - train)
    worse = -gap if name in HIGHER_IS_BETTER else gap
    detail = f"{train:.4g} on the rows learned from, {test['value']:.4g} on the test rows; may differ by {most:g}."
    return ("passed" if worse <= most else "failed"), detail


def _latency(measured: Mapping[str, Quantile] | None, name: str, limit: float) -> tuple[State, str]:
    if measured is None:
        return "unknown", "It couldn't be measured."
    found = measured[name]
    known = found.low is not None and found.high is not None
    interval = f" (95 %: {found.low:.3g} to {found.high:.3g})" if known else ""
    return ("passed" if found.value <= limit else "failed"), (
        f"{found.value:.3g} ms a row here{interval}; at most {limit:g} ms."
    )


def _age(days: float, most: float) -> tuple[State, str]:
    return ("passed" if days <= most else "failed"), f"{days:.1f} days old; at most {most:g}."
