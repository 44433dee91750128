"""What `explain_model` answers."""

from __future__ import annotations

from typing import Any

from mcp_server.workflows.reply import Reply, number

MOST_TOLD = 5
MOST_NAMED = 6
MOST_LETTERS = 1_100
"""Of what is told of groups; the structure and the model's card hold the rest."""

MOST_GAPS = 3
_ORDER = {"fail": 0, "can't tell": 1}
_RATES = {
    "base_rate": "happened",
    "selection_rate": "selected",
    "false_positive_rate": "false positives",
    "false_negative_rate": "misses",
    "error_rate": "errors",
    "calibration_gap": "calibration gap",
    "calibration_error": "calibration error",
    "mean_error": "mean error",
    "mean_absolute_error": "mean absolute error",
}
_SHOWN = tuple(name for name in _RATES if name not in ("base_rate", "calibration_error", "mean_absolute_error"))


class Explained(Reply):
    """Why a model answers as it does, or how it treats groups; what wasn't asked for is absent."""

    model: str
    sentence: str
    rows: int
    explanations: list[dict[str, Any]] | None = None
    importance: list[dict[str, Any]] | None = None
    contributions: list[dict[str, Any]] | None = None
    fairness: list[dict[str, Any]] | None = None
    method: str = ""

    def lines(self) -> list[str]:
        told = [self.sentence]
        for one in (self.explanations or [])[:MOST_TOLD]:
            told += _explained(one)
        sizes = {one["column"]: one for one in self.contributions or []}
        for one in self.importance or []:
            told.append(_important(one, sizes.pop(one["column"], None)))
        if self.importance is not None and sizes:
            further = ", ".join(f"{name} {_figure(one['size'])}" for name, one in list(sizes.items())[:MOST_NAMED])
            told.append(f"Mean contribution of further columns: {further}.")
        for one in self.fairness or []:
            told += _groups_in_short(one, MOST_LETTERS // len(self.fairness or [one]))
        return [*told, *([self.method] if self.method else [])]


def _explained(one: dict[str, Any]) -> list[str]:
    answer = str(one["value"]) if isinstance(one["value"], str) else _figure(one["value"])
    if one["probability"] is not None:
        answer += f" with probability {number(one['probability'])}"
    what = "the answer" if one["about"] is None else f"log-odds of {one['about']}"
    parts = [
        f"{part['column']} ({_cell(part['value'])}) {_signed(part['contribution'])}"
        for part in one["contributions"][:MOST_NAMED]
    ]
    rest = one["rest"] + sum(part["contribution"] for part in one["contributions"][MOST_NAMED:])
    if rest:
        parts.append(f"all others {_signed(rest)}")
    told = [
        f"row {one['row']}: {answer}; {what} {_figure(one['output'])} = usually {_figure(one['base'])}, "
        f"{', '.join(parts) or 'nothing moves it'}."
    ]
    if one["flags"]:
        shown = ", ".join(f"{flag['kind']} {flag['column']}" for flag in one["flags"])
        told.append(f"  check: {shown}; the answer carries no promise there.")
    if one.get("changes") is None:
        return told
    for change in one["changes"]:
        moves = ", ".join(
            f"{part['column']} {_cell(part['before'])} → {_cell(part['after'])}" for part in change["changes"]
        )
        value = change["value"] if isinstance(change["value"], str) else _figure(change["value"])
        sure = "" if change["probability"] is None else f" ({number(change['probability'])})"
        told.append(f"  with {moves}: {value}{sure}, {number(change['distance'], 2)} robust units away.")
    if not one["changes"]:
        told.append("  no change within the contract was found that gives the other answer.")
    if one["kept"]:
        kept = ", ".join(f"{count} that {reason}" for reason, count in sorted(one["kept"].items()))
        told.append(f"  columns that weren't changed: {kept}.")
    return told


def _important(one: dict[str, Any], size: dict[str, Any] | None) -> str:
    shown = f"- {one['column']}: {_signed(one['increase'])}{_range(one['low'], one['high'])} when shuffled"
    if size is None:
        return shown
    direction = f", a larger value {size['direction']} it" if size["direction"] else ""
    return f"{shown}; moves an answer by {_figure(size['size'])} on average{direction}"


def fairness_lines(one: dict[str, Any]) -> list[str]:
    """The groups of one column in sentences."""
    told = [f"Groups of {one['column']}, held against {one['reference']}:"]
    for group in one["groups"]:
        rates = [
            f"{_RATES[name]} {_figure(rate[0])}{_range(rate[1], rate[2])}"
            for name, rate in group["rates"].items()
            if name in _SHOWN
        ]
        small = "; too small to conclude anything" if group["small"] else ""
        share = number(group["share_of_all"], 3)
        told.append(f"- {group['name']}: {group['rows']:,} rows ({share} of the data); {', '.join(rates)}{small}")
    told += [_gaps(name, one) for name in dict.fromkeys(gap["group"] for gap in one["gaps"])]
    if not one["gaps"]:
        told.append(_no_gap(one))
    told += _gates(one["gates"]) + _gates(one.get("what_if", []), "What if it were held to")
    if one["conflicts"]:
        told.append(_conflict(one["conflicts"], one["reference"]))
    for proxy in one["proxies"]:
        value, low, high = proxy["area"]
        told.append(f"Proxy: {proxy['column']} tells {proxy['group']} with area {_figure(value)}{_range(low, high)}.")
    if not one["proxies"]:
        told.append(f"None of {one['asked']} columns alone gives a group away.")
    return told


def _groups_in_short(one: dict[str, Any], room: int) -> list[str]:
    """The groups of one column in about so many letters: broken limits first, then the surest gaps."""
    groups, reference = one["groups"], one["reference"]
    sizes = [f"{group['name']} {group['rows']:,}{' (too small)' if group['small'] else ''}" for group in groups]
    more = [f"{len(sizes) - MOST_NAMED} more"] if len(sizes) > MOST_NAMED else []
    told = [f"Groups of {one['column']}, held against {reference}, by rows: {', '.join([*sizes[:MOST_NAMED], *more])}."]
    rates = {(group["name"], name): rate[0] for group in groups for name, rate in group["rates"].items()}
    gaps = [
        f"- {_RATES[gap['rate']]} of {gap['group']}: {_figure(rates[gap['group'], gap['rate']])} against "
        f"{_figure(rates[reference, gap['rate']])}, {_signed(gap['difference'][0])}{_range(*gap['difference'][1:])}"
        for gap in sorted(one["gaps"], key=_sureness)
    ]
    rest = _gates(one["gates"], most=MOST_GAPS)
    rest += _gates(one.get("what_if", []), "What if it were held to", most=MOST_GAPS)
    rest += gaps[:MOST_GAPS] or [_no_gap(one)]
    if one["conflicts"]:
        named = ", ".join(
            f"{_figure(part['base_rates'][0])} in {part['group']}" for part in one["conflicts"][:MOST_GAPS]
        )
        rest.append(
            f"Conflict: the outcome's rate is {_figure(one['conflicts'][0]['base_rates'][1])} in {reference}, {named}; "
            "a model that errs can't be calibrated in both and have equal error rates."
        )
    rest += [
        f"Proxy: {proxy['column']} tells {proxy['group']} with area {_figure(proxy['area'][0])}."
        for proxy in one["proxies"][:MOST_GAPS]
    ]
    rest += gaps[MOST_GAPS:]
    room -= len(told[0])
    for place, line in enumerate(rest):
        room -= len(line) + 1
        if place and room < 0:
            return [*told, f"{len(rest) - place} more findings of {one['column']} are in the structure."]
        told.append(line)
    return told


def _sureness(gap: dict[str, Any]) -> float:
    """How far the interval of a difference stays from 0, the farthest first."""
    _, low, high = gap["difference"]
    return -float(max(low, -high))


def _no_gap(one: dict[str, Any]) -> str:
    if any(group["small"] for group in one["groups"] if group["name"] == one["reference"]):
        return f"{one['reference']} is too small to hold the others against: nothing is concluded."
    return "No gap is detected on this many rows."


def _gaps(group: str, one: dict[str, Any]) -> str:
    shown = []
    for gap in one["gaps"]:
        if gap["group"] != group:
            continue
        told = f"{_RATES[gap['rate']]} {_signed(gap['difference'][0])}{_range(*gap['difference'][1:])}"
        if gap["ratio"] is not None and gap["ratio"][0] is not None:
            told += f", ratio {_figure(gap['ratio'][0])}{_range(*gap['ratio'][1:])}"
        shown.append(told)
    return f"Gaps of {group}: {'; '.join(shown)}."


def _gates(gates: list[dict[str, Any]], called: str = "Gate,", most: int | None = None) -> list[str]:
    """Each limit with its verdict for each group; where only some are told, the gravest first."""
    if most is not None:
        gates = sorted(gates, key=lambda gate: _ORDER.get(gate["verdict"], len(_ORDER)))
    limits = dict.fromkeys((gate["rate"], gate["kind"], gate["limit"]) for gate in gates)
    of = {one: [gate for gate in gates if (gate["rate"], gate["kind"], gate["limit"]) == one] for one in limits}
    return [_gate(called, *one, of[one][:most]) for one in limits]


def _gate(called: str, rate: str, kind: str, limit: float, gates: list[dict[str, Any]]) -> str:
    """One limit with its verdict for each group."""
    asked = f"{_figure(limit)} to {_figure(1 / limit)}" if kind == "ratio" else f"at most {_figure(limit)}"
    shown = []
    for gate in gates:
        value, low, high = gate["found"]
        found = "" if value is None else f" {_figure(value)}{_range(low, high)}"
        few = f", {gate['reason']}" if gate["reason"] and "both sides" not in gate["reason"] else ""
        shown.append(f"{gate['verdict']} for {gate['group']}{found}{few}")
    return f"{called} {kind} of {rate} {asked}: {'; '.join(shown)}."


def _conflict(conflicts: list[dict[str, Any]], reference: str) -> str:
    rates = ", ".join(f"{_figure(one['base_rates'][0])} in {one['group']}" for one in conflicts)
    told = (
        f"Conflict: the outcome's rate is {_figure(conflicts[0]['base_rates'][1])} in {reference}, {rates}. A model "
        "that errs can't be calibrated in groups with other rates and have equal error rates"
    )
    needed = [one for one in conflicts if one["needed_ratio"] is not None]
    if needed:
        listed = ", ".join(
            _figure(one["needed_ratio"])
            + ("" if one["observed_ratio"] is None else f" (observed {_figure(one['observed_ratio'])})")
            for one in needed
        )
        told += f"; equal precision and misses need false positives in the ratio {listed}"
    gaps = [_signed(one["needed_gap"]) for one in conflicts if one["needed_gap"] is not None]
    if gaps:
        told += f"; equal error rates would part the selection rates by {', '.join(gaps)}"
    return f"{told}. Choose which one counts."


def _figure(value: float) -> str:
    """Three significant digits or so, without a zero before the point."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    return number(value, 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 4)


def _signed(value: float) -> str:
    shown = _figure(value)
    return shown if shown.startswith("−") or shown == "0" else f"+{shown}"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return ""
    return f" [{_figure(low)}, {'no end' if high is None else _figure(high)}]"


def _cell(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
