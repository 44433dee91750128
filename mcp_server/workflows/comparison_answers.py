"""What compare_models answers: one sentence with its evidence, then what stands behind it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mcp_server.workflows.reply import Reply, bounds, counted, number

MOST_PAIRS = 7
MOST_SLICES = 4
MOST_WORST = 3
MOST_DIGITS = 12
LEAST_P = 0.05


class Compared(Reply):
    """Models and outside forecasts on the same rows, none of which a model was trained on as far as can be told.

    Args:
        models: the best first by the deciding metric: metrics with intervals, calibration, cost.
        verdict, metrics: of the two that `details.lead` names, the first against the second.
        details: `lead`; `pairs`: every pair by the deciding metric, where there are more than two models; `slices`:
            groups of rows, those on which the first of `lead` does worst against the second in front; `groups`: how
            many were tested, and how many were too small; `worst`: for each model the group on which it's worst,
            where one is found; `sets`: ranks over several data sets; `retrained`: the training procedures over
            parts of the table.
        notes: what was left out, and what can't be told.
    """

    models: list[dict[str, Any]]
    rows: int
    left_out: int = 0
    verdict: Literal["better", "worse", "no detectable difference"]
    sentence: str
    metrics: list[dict[str, Any]]
    details: dict[str, Any]
    notes: list[str] = Field(default_factory=list)

    def lines(self) -> list[str]:
        told = [self.sentence, *self.notes]
        told += [
            f"- {one['metric']}: {number(one['first'])} against {number(one['second'])}, {gain(one)}"
            for one in self.metrics
        ]
        leader = self.models[0]["model"]
        # Of the leader's own pairs the sentence tells.
        others = [one for one in self.details["pairs"] if leader not in (one["first"], one["second"])]
        told += [f"- {one['first']} against {one['second']}: {gain(one)}" for one in others[:MOST_PAIRS]]
        told += _ranked(self.details["sets"]) + _procedures(self.details["retrained"]) + _grouped(self.details)
        return told + [_cost(one) for one in self.models if "cost" in one or "calibration" in one]


def _ranked(sets: dict[str, Any] | None) -> list[str]:
    if sets is None:
        return []
    ranks = ", ".join(f"{name} {number(rank, 2)}" for name, rank in sets["ranks"].items())
    return [
        f"Mean ranks over {len(sets['datasets'])} data sets: {ranks}; p {number(sets['p'], 3)} that they rank alike "
        f"(Friedman, Iman and Davenport); two differ from {number(sets['critical_distance'], 2)} apart (Nemenyi)."
    ]


def _procedures(retrained: dict[str, Any] | None) -> list[str]:
    if retrained is None:
        return []
    margin = number(retrained["margin"])
    how = f"Trained anew {retrained['runs']} times" + (
        ", each time on the rows before those that judge" if retrained["in_time"] else ""
    )
    reused = [
        f"{' and '.join(retrained['reused'])}: with the parameters and weights that tuning had chosen, "
        "without a new search. They were chosen on rows that may judge here, so that this flatters a little."
    ]
    return [
        f"{how}, {one['first']} against {one['second']}: {gain(one)}, "
        f"p {number(one['p_holm'], 3)} (Nadeau and Bengio, Holm); better by more than {margin} with probability "
        f"{number(one['better'], 2)}, within ± {margin} {number(one['inside'], 2)}, worse {number(one['worse'], 2)} "
        "(Bayesian correlated t)."
        for one in retrained["pairs"]
    ] + (reused if retrained["reused"] else [])


def _grouped(details: dict[str, Any]) -> list[str]:
    first, second = details["lead"]
    found = [one for one in details["slices"] if one["verdict"] != "no detectable difference"]
    told = [f"- {first} against {second} {_where(one)}: {gain(one)}" for one in found[:MOST_SLICES]]
    groups = details["groups"]
    if not found and groups["tested"]:
        told.append(
            f"No detectable difference in any of {groups['tested']} groups (5 % false discoveries); {groups['small']} "
            "of under 100 rows weren't tested."
        )
    told += [
        f"- Worst for {one['model']}: {_where(one)}, {number(one['metric'])}, which is {number(one['excess'])}"
        f"{bounds(one)} worse than elsewhere"
        for one in details["worst"][:MOST_WORST]
    ]
    return told


def _where(one: dict[str, Any]) -> str:
    return f"where {one['column']} is {one['value']} ({one['rows']:,} rows)"


def gain(one: dict[str, Any]) -> str:
    """A difference in words: whether a metric rises or falls when it gets better is nothing to guess."""
    low, high = one["low"], one["high"]
    if low is None or high is None:
        return "too few rows to tell"
    worse, better = f"[{_bound(-high)}, {_bound(-low)}]", f"[{_bound(low)}, {_bound(high)}]"
    if one["verdict"] == "worse":
        return f"worse by {_bound(-one['difference'])} {worse}"
    if one["verdict"] == "better":
        return f"better by {_bound(one['difference'])} {better}"
    if low <= 0.0 <= high:
        return f"no detectable difference (at most {_bound(-low)} worse, {_bound(high)} better)"
    # The interval isn't widened for the other tests, so that it can leave 0 out where the corrected p doesn't.
    told = (
        f"worse by {_bound(-one['difference'])} {worse}"
        if high < 0.0
        else f"better by {_bound(one['difference'])} {better}"
    )
    if "tests" not in one:
        return f"{told} by its interval alone: no detectable difference"
    if one.get("p", 0.0) >= LEAST_P:
        return f"{told} by its interval alone: no detectable difference (p {number(one['p'], 3)}, {one['test']})"
    return f"{told} by itself, not after correction for {counted(one['tests'], 'test')}: no detectable difference"


def _bound(value: float) -> str:
    """A figure with as many digits as show on which side of 0 it lies."""
    digits = 4
    while value and digits < MOST_DIGITS and number(value, digits) in ("0", "\N{MINUS SIGN}0"):
        digits += 1
    return number(value, digits)


def _cost(one: dict[str, Any]) -> str:
    told = []
    if "calibration" in one:
        error, chance = one["metrics"]["calibration_error"]["value"], one["calibration"]["by_chance"]
        within = "more than" if one["calibration"]["verdict"] == "miscalibrated" else "within"
        told.append(f"calibration error {number(error, 3)}, {within} what chance makes (up to {number(chance, 3)})")
    if "cost" in one:
        cost = one["cost"]
        told.append(f"{cost['microseconds_a_row']:g} µs a row, {cost['bytes']:,} bytes")
        if "job_seconds" in cost:
            told.append(f"trained by a job of {cost['job_seconds']:g} s")
    return f"- {one['model']}: {'; '.join(told)}"
