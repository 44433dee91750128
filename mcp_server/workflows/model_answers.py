"""What the model and serving tools answer."""

from __future__ import annotations

from typing import Any, Literal

from mcp_server.workflows.comparison_answers import gain
from mcp_server.workflows.reply import Reply, bounds, counted, number, places

MOST_TOLD = 10


class JobReport(Reply):
    """A job, with its result once it has one."""

    job: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: float = 0.0
    message: str = ""
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def lines(self) -> list[str]:
        if self.state == "succeeded" and self.result:
            told = removed_lines if "removed" in self.result else trained_lines
            return [f"Job {self.job} succeeded.", *told(self.result)]
        if self.state == "failed" and self.error:
            failed = [f"Job {self.job} failed with {self.error.get('code')}: {self.error.get('message')}"]
            return failed + ([f"Hint: {self.error['hint']}"] if self.error.get("hint") else [])
        return [f"Job {self.job} is {self.state} ({self.progress:.0%}{', ' + self.message if self.message else ''})."]


def trained_lines(result: dict[str, Any]) -> list[str]:
    """A training result in sentences."""
    told = [f"Split: {result['split']}"]
    for version in result["versions"]:
        shown = "; ".join(
            f"{name} {number(metric['value'])}{bounds(metric)}" for name, metric in version["metrics"].items()
        )
        state = [version["algorithm"], f"verification {version['verification']}"]
        if version["calibration"] == "none" and "log_loss" in version["metrics"]:
            state.append("not calibrated" if "account" in result else "not calibrated: too few rows")
        if version["same_as_before"]:
            state.append("the same as before")
        told.append(f"- {version['model']} ({', '.join(state)}): {shown}")
        told += _coverage(version["model"], version.get("interval"))
    told.append(result["sentence"])
    if "account" in result:
        told += account_lines(result["account"], result["versions"][-1]["calibration"])
    return told


def _coverage(model: str, interval: dict[str, Any] | None) -> list[str]:
    """That an interval doesn't hold as often as it says, where the test rows show it."""
    if interval is None or interval["held"]:
        return []
    return [
        f"The {interval['level']:.0%} interval of {model} held {interval['coverage']:.1%} of the test rows, where "
        f"{interval['low']:.1%} to {interval['high']:.1%} was to be expected: it is too "
        f"{'narrow' if interval['coverage'] < interval['level'] else 'wide'}."
    ]


def account_lines(account: dict[str, Any], calibration: str) -> list[str]:
    """What tuning tried, what won, by how much and at what cost, in sentences.

    Args:
        calibration: of the version that came out, such as `none` or `platt`.
    """
    tried = ", ".join(f"{one['algorithm']} {one['trials']} ({one['pruned']} pruned)" for one in account["tried"])
    spent = sum(one["seconds"] for one in account["tried"])
    members = " + ".join(map(_member, account["members"]))
    members += "" if calibration == "none" else f", calibrated ({calibration})"
    told = [
        f"Tuned with {account['trials']} trials in {spent:.1f} s, ended by {account['ended_by']}, and chose in "
        f"{max(0.0, account['seconds'] - spent):.1f} s: {tried}.",
        f"Chosen on {account['folds']} folds of the training rows ({account['rows']:,} rows judged): {members}, "
        f"loss {number(account['gap']['train'])} on the rows learned from, {number(account['loss'])} on the folds, "
        f"{number(account['gap']['test'])} on the test rows.",
    ]
    if (better := account.get("simpler_than")) is not None:
        told.append(
            f"{better['name']} was ahead by less than a standard error: the simpler is taken, defaults before tuned."
        )
    told += [f"- against {one['what']}: {gain(one)}" for one in account["against"]]
    if account.get("absent"):
        told.append("LightGBM took no part: it comes with the extra boost, which isn't installed or doesn't load.")
    if account.get("curve"):
        told.append(_curve(account["curve"], "" if calibration == "none" else " before calibration"))
    together = [account.get("blend"), account.get("stack")]
    if any(together) and not any(one["taken"] for one in together if one):
        told.append("Blending and stacking didn't help beyond noise.")
    return told


def _curve(curve: dict[str, Any], before: str) -> str:
    """The learning curve in a sentence."""
    points = curve["points"]
    shown = "; ".join(f"{one['rows']:,} rows {number(one['folds'])} ({number(one['train'])})" for one in points)
    gain = points[-2]["folds"] - points[-1]["folds"]
    more = (
        "more rows would probably help" if gain > 0.02 * abs(points[-1]["folds"]) else "more rows would change little"
    )
    what = f"loss on the folds (on the rows learned from){before}"
    return f"Learning curve of {curve['algorithm']}, {what}: {shown}: {more}."


_BALANCES = {
    "none": "rare classes as they come",
    "weights": "weights for rare classes",
    "undersample": "fewer rows of frequent classes",
}


def _member(member: dict[str, Any]) -> str:
    told = [f"{member['weight']:.2f} {member['algorithm']} {'tuned' if member['tuned'] else 'by default'}"]
    if "iterations" in member:
        told.append(f"stopped after {member['iterations']} iterations")
    if "balance" in member:
        told.append(_BALANCES[member["balance"]])
    if member.get("categories") == "ranked":
        told.append("categories by outcome")
    return ", ".join(told)


def removed_lines(result: dict[str, Any]) -> list[str]:
    """What a retention job removed, in a sentence."""
    return ["Removed: " + ", ".join(f"{count:,} {kind}" for kind, count in result["removed"].items()) + "."]


class Verified(Reply):
    """Each check of one version, or of a foreign file: passed, failed or not done."""

    model: str
    kind: str | None = None
    verdict: Literal["passed", "failed", "data-only", "unsafe", "not understood"]
    checks: list[dict[str, str]]
    digest: str

    def lines(self) -> list[str]:
        passed: list[str] = []
        if self.kind is None:
            told = [f"{self.model}: verification {self.verdict} ({self.digest[:19]}…)."]
            passed = [check["name"] for check in self.checks if check["state"] == "passed"]
        else:
            told = [f"{self.model} is {self.verdict} (kind {self.kind}, {self.digest[:19]}…)."]
        told += [
            f"- {check['name']}: {check['state'].replace('_', ' ')}; {check['detail']}"
            for check in self.checks
            if check["name"] not in passed or check["state"] != "passed"
        ]
        return told + ([f"Passed: {', '.join(passed)}."] if passed else [])


class Registered(Reply):
    """A version that was made of a person's file.

    Args:
        facts: algorithm, task, digest, file (its digest), kind, difference (the largest from the file's model),
            held_out (whether the metrics are of rows that it wasn't trained on, as stated), same_as_before.
    """

    model: str
    verification: Literal["passed", "failed"]
    metrics: dict[str, float]
    facts: dict[str, Any]
    notes: list[str]

    def lines(self) -> list[str]:
        facts = self.facts
        again = ", the same as before" if facts["same_as_before"] else ""
        shown = ", ".join(f"{name} {number(value)}" for name, value in self.metrics.items())
        known = (
            "rows that it wasn't trained on, as stated"
            if facts["held_out"]
            else "rows that it may have been trained on, so no evidence of how it does on others"
        )
        return [
            f"{self.model} ({facts['algorithm']}, {facts['task']}{again}): verification {self.verification}. It was "
            f"made of a {facts['kind']} file ({facts['file'][:19]}…) and answers as that does to "
            f"{facts['difference']:.0e}.",
            f"On {known}: {shown}.",
            *(f"- {note}" for note in self.notes),
        ]


class Predicted(Reply):
    """Answers with what is odd about each row, and which model gave them."""

    model: str
    digest: str
    count: int
    predictions: list[dict[str, Any]]
    flagged: int = 0
    truncated: bool = False
    decision: str | None = None

    def lines(self) -> list[str]:
        told = [f"{self.model} ({self.digest[:19]}…) answered {counted(self.count, 'row')}; {self.flagged} with flags."]
        told += [] if self.decision is None else [self.decision]
        for one in self.predictions[:MOST_TOLD]:
            odd = f"; check: {', '.join(one['flags'])}" if one.get("flags") else ""
            told.append(f"row {one['row']}: {_value(one)}{odd} ({one['id']})")
        shown = min(MOST_TOLD, len(self.predictions))
        if self.count > shown:
            rest = f"the structure shows {len(self.predictions)}, flagged rows first"
            told.append(f"{self.count - shown:,} more are stored in the prediction log; {rest}.")
        return told


def decided(value: str, threshold: float) -> str:
    """From which probability on a class is said, where errors have costs.

    >>> decided("yes", 1 / 6)
    'yes is said beyond a probability of .167, by the stated costs of the two errors.'
    """
    return f"{value} is said beyond a probability of {number(threshold, 3)}, by the stated costs of the two errors."


def _value(one: dict[str, Any]) -> str:
    if "probability" in one:
        return f"{one['value']} with probability {number(one['probability'])}"
    if "interval" in one:
        low, high = one["interval"]
        return f"{_significant(one['value'])} ({one['level']:.0%} interval {_significant(low)} to {_significant(high)})"
    return _significant(one["value"]) if isinstance(one["value"], float) else str(one["value"])


def _significant(value: float) -> str:
    """Six significant digits, and every whole unit, of a number that isn't very small or very large.

    >>> _significant(12.345678901234), _significant(1234567.25), _significant(1.23456789e-20)
    ('12.3457', '1234567.2', '1.23457e-20')
    """
    return number(value, places(value)) if 1e-6 < abs(value) < 1e15 or not value else f"{value:.6g}"


class Models(Reply):
    """A page of models, or of runs."""

    models: list[dict[str, Any]]
    runs: list[dict[str, Any]] | None = None
    cursor: str | None = None

    def lines(self) -> list[str]:
        more = [f"More with cursor {self.cursor}."] if self.cursor else []
        if self.runs is not None:
            return [f"{counted(len(self.runs), 'run')}.", *map(_run_line, self.runs), *more]
        told = [f"{counted(len(self.models), 'model version')}, newest first."]
        told += [
            f"- {one['model']}: {one['algorithm']} for {one['task']} (target {one['target']}), {one['verification']}, "
            f"on {one['dataset']}, made {one['created_at']}: "
            + ", ".join(f"{name} {value:g}" for name, value in one["metrics"].items())
            + _standing(one)
            for one in self.models
        ]
        return told + more


def _run_line(one: dict[str, Any]) -> str:
    on = f", on {one['dataset']}" if "dataset" in one else ""
    cost = f", {one['seconds']:g} s" if "seconds" in one else ""
    failed = f" ({one['error']})" if "error" in one else ""
    metrics = ", ".join(
        f"{name} {number(value)}{bounds({'low': low, 'high': high})}"
        for name, (value, low, high) in one.get("metrics", {}).items()
    )
    told = f"- {one['run']}: {one['model']}, {one['algorithm']}{on}, {one['status']}{failed}{cost}"
    return f"{told}: {metrics}" if metrics else told


def _standing(one: dict[str, Any]) -> str:
    """Stage, owner and tags of a listed version, where it has any."""
    told = [f"standing {one['standing']}"] if "standing" in one else []
    told += [f"stage {one['stage']}"] if "stage" in one else []
    told += [f"owner {one['owner']}"] if "owner" in one else []
    told += [f"{key}={value}" for key, value in one.get("tags", {}).items()]
    return f"; {', '.join(told)}" if told else ""


class HealthReport(Reply):
    """What needs attention first, then everything else."""

    status: Literal["ok", "attention", "failing"]
    attention: list[dict[str, str]]
    dependencies: list[dict[str, Any]]
    models: dict[str, Any]
    jobs: dict[str, Any]
    errors: list[dict[str, Any]]
    slowest: list[dict[str, Any]]
    disk: dict[str, Any]

    def lines(self) -> list[str]:
        told = [f"Status: {self.status}."]
        told += [f"- {item['what']} See {item['runbook']}." for item in self.attention]
        told += [f"- {d['name']}: {d['status']}, {d['latency_ms']} ms" for d in self.dependencies]
        jobs = ", ".join(f"{count} {state}" for state, count in self.jobs.items()) or "none"
        told.append(f"Models: {self.models['versions']} versions, {self.models['verified']} verified. Jobs: {jobs}.")
        if self.slowest:
            told.append("Slowest: " + ", ".join(f"{t['tool']} p95 {t['p95_ms']:,.0f} ms" for t in self.slowest))
        kinds = ", ".join(f"{kind} {size:g}" for kind, size in self.disk["by_kind_mib"].items())
        told.append(f"Disk: {self.disk['used_mib']:,} MiB used ({kinds}), {self.disk['free_mib']:,} MiB free.")
        return told
