"""Is a data set version fit for use: rules, rows and reasons, and what wasn't looked for.

Each validation leaves a line in the data set's quality history. The tool is called read-only all the same: the line is
an observation, as in a log; no data set, model or later answer is other because of it. A call that the guard tries
again leaves one line, and a server that was started read-only leaves none.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.data_answers import Validated
from mcp_server.workflows.describing import find
from mcp_server.workflows.reply import counted, token

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, Validation

MOST_ROWS = 20
MOST_VALIDATIONS = 50
MOST_RULES = 40
DRAWING_SECONDS = 30.0

_OF_THE_WHOLE = ("contract.freshness", "contract.rows")
_GRADES = ("info", "warn", "fail")


async def validate(app: App, call: CallContext, dataset: str, baseline: str | None) -> Validated:
    """Check a version in the computing child."""
    record = await find(app, dataset)
    reference = None if baseline is None else await find(app, baseline)
    arguments = await checking(app, record, reference, call.clock.now())
    report = await (await app.compute()).run("validate", arguments, timeout=call.remaining(), progress=call.report)
    if not app.settings.read_only:
        # What couldn't be compared is no comparison.
        await _record(app, call, record, reference if report["compared"] else None, report)
    columns = record.contract["columns"]
    positions = {column["name"]: index for index, column in enumerate(columns, start=1)}
    at = f"data://{record.name}@{record.version}/findings"
    findings = [
        _finding(finding, positions) | ({"rows_at": f"{at}/{number}"} if _cut_short(finding) else {})
        for number, finding in enumerate(report["findings"], start=1)
    ]
    onward = _next(findings, f"{record.name}@{record.version}", targeted=any(_is_target(c) for c in columns))
    if report["findings_left_out"]:
        onward += f" {counted(report['findings_left_out'], 'milder finding')} left out: {at} lists all."
    failures = sum(finding["severity"] == "fail" for finding in findings)
    warnings = sum(finding["severity"] == "warn" for finding in findings)
    return Validated(
        dataset=f"{record.name}@{record.version}",
        verdict=report["verdict"],
        failures=failures,
        warnings=warnings,
        findings=findings,
        not_looked_for=report["not_looked_for"],
        next=onward,
        untrusted=_apart(report["findings"], findings),
    )


async def checking(app: App, record: DatasetVersion, reference: DatasetVersion | None, now: datetime) -> dict[str, Any]:
    """What the computing child needs to check a version, against another one where there's one."""
    storage = await app.storage()
    arguments = {
        "path": str(await storage.artefacts.local_path(record.artefact)),
        "contract": record.contract,
        "seed": storage.keys.checking_seed(record.artefact),
        "now": now.isoformat(),
    }
    if reference is not None:
        arguments["baseline"] = str(await storage.artefacts.local_path(reference.artefact))
    return arguments


async def history(app: App, name: str) -> dict[str, Any]:
    """The last validations of a data set, newest first: verdicts, and for each rule its rows, or its findings.

    Raises:
        NotFound: there is no such data set, or it was never validated.
    """
    name, said, more = await _validations(app, name)
    rules = _ranked(said)
    return {
        "dataset": name,
        "validations": [
            {
                "dataset": f"{name}@{one.version}",
                **({"baseline": one.baseline} if one.baseline else {}),
                "at": one.at.isoformat(timespec="seconds"),
                "verdict": one.verdict,
            }
            for one in said
        ],
        "rows_by_rule": {rule: _counts(rule, said) for rule in rules[:MOST_RULES] if _names_rows(rule, said)},
        "findings_by_rule": {rule: _counts(rule, said) for rule in rules[:MOST_RULES] if not _names_rows(rule, said)},
        "rules_left_out": max(0, len(rules) - MOST_RULES),
        "more": more,
    }


async def picture(app: App, name: str) -> bytes:
    """The same as a PNG: the rules that concern the most rows, oldest validation on the left.

    Raises:
        NotFound: as for `history`.
    """
    name, said, _ = await _validations(app, name)
    oldest_first = said[::-1]
    arguments = {
        "name": name,
        "versions": [one.version for one in oldest_first],
        "verdicts": [one.verdict for one in oldest_first],
        "rules": {rule: _counts(rule, oldest_first) for rule in _ranked(said, "warn")},
    }
    drawn = await (await app.compute()).run("draw_quality", arguments, timeout=DRAWING_SECONDS)
    return base64.b64decode(drawn["picture"])


async def _record(
    app: App, call: CallContext, record: DatasetVersion, reference: DatasetVersion | None, report: dict[str, Any]
) -> None:
    from mcp_server.storage import validations

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await validations.add(
            tx,
            name=record.name,
            version=record.version,
            baseline=f"{reference.name}@{reference.version}" if reference else None,
            verdict=report["verdict"],
            rules=report["rules"],
            request_id=call.request_id,
        )
        tx.about(f"dataset:{record.name}@{record.version}")


async def _validations(app: App, name: str) -> tuple[str, Sequence[Validation], bool]:
    from mcp_server.storage import validations

    record = await find(app, name)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await validations.list_page(tx, record.name, limit=MOST_VALIDATIONS)
    if not page.items:
        raise NotFound(f"{record.name} was never validated.", hint=f"validate_data with dataset {record.name} does it.")
    return record.name, page.items, page.next_cursor is not None


def _counts(rule: str, said: Sequence[Validation]) -> list[int]:
    return [one.rules.get(rule, {}).get("count", 0) for one in said]


def _names_rows(rule: str, said: Sequence[Validation]) -> bool:
    """Whether the rule named rows in one of the validations; else its counts are of findings."""
    return any(one.rules.get(rule, {}).get("of", "findings") == "rows" for one in said)


def _ranked(said: Sequence[Validation], least: str = "info") -> list[str]:
    """Rules by the worst severity that they had and the rows that they concerned, in validations newest first."""
    worst: dict[str, tuple[int, int]] = {}
    for one in said:
        for rule, told in one.rules.items():
            grade, count = worst.get(rule, (0, 0))
            worst[rule] = (max(grade, _GRADES.index(told["severity"])), max(count, told["count"]))
    chosen = [rule for rule, (grade, _) in worst.items() if grade >= _GRADES.index(least)]
    return sorted(chosen, key=lambda rule: (-worst[rule][0], -worst[rule][1], rule))


def _cut_short(finding: dict[str, Any]) -> bool:
    """Whether a finding names more rows than the answer has room for."""
    return bool(finding["rows"]) and finding["count"] > MOST_ROWS


def _finding(finding: dict[str, Any], positions: dict[str, int]) -> dict[str, Any]:
    """A finding for our own sentences: column names that aren't plain words are replaced by their positions."""
    return {
        "rule": finding["rule"],
        "severity": finding["severity"],
        "columns": [token(name, f"column {positions.get(name, 0)}") for name in finding["columns"]],
        "count": finding["count"],
        "rows": finding["rows"][:MOST_ROWS],
        "spans": finding["spans"],
        "reason": finding["reason"],
        "statistic": finding["statistic"],
        **{part: finding[part] for part in ("confidence", "fix") if part in finding},
    }


def _apart(found: list[dict[str, Any]], told: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What came from the data: column names that couldn't stand among our own words, and the first suspect cells.

    A finding's cells stand under its position in the list, from 1: row, value, and what the fix would make of it.
    """
    hidden = {
        shown: name
        for one, other in zip(found, told, strict=True)
        for name, shown in zip(one["columns"], other["columns"], strict=True)
        if shown != name
    }
    cells = {str(at): one["examples"] for at, one in enumerate(found, start=1) if "examples" in one}
    apart = {**({"column_names": hidden} if hidden else {}), **({"cells": cells} if cells else {})}
    return apart or None


def _is_target(column: dict[str, Any]) -> bool:
    return bool(column.get("role") == "target")


def _next(findings: list[dict[str, Any]], reference: str, *, targeted: bool) -> str:
    """The step that fits the gravest finding; they come in that order."""
    failed = [finding for finding in findings if finding["severity"] == "fail"]
    rules = [finding["rule"] for finding in failed]
    if any(rule.startswith("leak") for rule in rules):
        return "Import again with roles that set the leaking columns to known_after, then validate_data."
    if failed:
        rule = rules[0]
        if rule in _OF_THE_WHOLE:
            return "Import the rows that are due; or prepare_data with a step contract that promises otherwise."
        if not failed[0]["rows"]:
            return f"Mend at the source what {rule} says, and import again."
        otherwise = "or a step contract that states it otherwise" if rule.startswith("rule.") else "or mend the source"
        return f"prepare_data with a step drop_rows and rule {rule}, {otherwise}."
    onward = f"train_model with dataset {reference}." if targeted else "Import again with a target, to train on it."
    warned = next((finding["rule"] for finding in findings if finding["severity"] == "warn"), None)
    return onward if warned is None else f"Look at {warned} first. Then: {onward[0].lower()}{onward[1:]}"
