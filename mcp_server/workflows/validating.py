"""Is a data set version fit for use: rules, rows and reasons, and what wasn't looked for.

Each validation leaves a line in the data set's quality history. The tool is called read-only all the same: the line is
an observation, as in a log; no data set, model or later answer is other because of it. A call that the guard tries
again leaves one line, and a server that was started read-only leaves none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput, NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.data_answers import Validated
from mcp_server.workflows.describing import find
from mcp_server.workflows.files import copy_allowed
from mcp_server.workflows.reply import counted, token

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, Validation

MOST_ROWS = 20
MOST_VALIDATIONS = 50
MOST_RULES = 40
MOST_UNKEPT = 50
MOST_SUITE_BYTES = 512 * 1024
DRAWING_SECONDS = 30.0

_OF_THE_WHOLE = ("contract.freshness", "contract.rows")
_GRADES = ("info", "warn", "fail")
_SEVERE = ("critical", "warning", "info")


async def validate(
    app: App, call: CallContext, dataset: str, baseline: str | None, suite: str | None = None
) -> Validated:
    """Check a version in the computing child.

    Args:
        suite: of Great Expectations, as JSON or the path of a file: then that library judges, in a child of its own.
    """
    record = await find(app, dataset)
    if suite is not None:
        if baseline is not None:
            raise InvalidInput("A suite has no baseline.", hint="Give suite or baseline, one at a time.")
        return await _by_suite(app, call, record, suite)
    reference = None if baseline is None else await find(app, baseline)
    arguments = await checking(app, record, reference, call.clock.now())
    report = await (await app.compute()).run("validate", arguments, timeout=call.remaining(), progress=call.report)
    if not app.settings.read_only:
        # What couldn't be compared is no comparison.
        against = f"{reference.name}@{reference.version}" if reference and report["compared"] else None
        await _record(app, call, record, report["verdict"], report["rules"], baseline=against)
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
    answer = Validated(
        dataset=f"{record.name}@{record.version}",
        verdict=report["verdict"],
        failures=failures,
        warnings=warnings,
        findings=findings,
        not_looked_for=report["not_looked_for"],
        next=onward,
        untrusted=_apart(report["findings"], findings),
    )
    return answer.with_never(report["never"])


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


async def _by_suite(app: App, call: CallContext, record: DatasetVersion, suite: str) -> Validated:
    """What Great Expectations says of a version."""
    text = await _text_of(app, suite)
    storage = await app.storage()
    table = await storage.artefacts.local_path(record.artefact)
    personal = {column["name"] for column in record.contract["columns"] if column.get("personal")}
    done = await (await app.compute()).run(
        "run_suite",
        {"path": str(table), "suite": text, "personal": sorted(personal)},
        timeout=call.remaining(),
        fresh=True,
        reads=[table],
        progress=call.report,
    )
    judged = done["judged"]
    positions = {column["name"]: index for index, column in enumerate(record.contract["columns"], start=1)}
    broken = sorted((one for one in judged if one["holds"] is False), key=lambda one: _SEVERE.index(one["severity"]))
    found = [_unkept(one, hidden=bool(personal & {*one["columns"]})) for one in broken[:MOST_UNKEPT]]
    findings = [_finding(one, positions) for one in found]
    failures = sum(one["severity"] == "critical" for one in broken)
    warnings = sum(one["severity"] == "warning" for one in broken)
    held = sum(one["holds"] is True for one in judged)
    verdict: Literal["pass", "warn", "fail"] = "fail" if failures else "warn" if warnings or not held else "pass"
    if not app.settings.read_only:
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        await _record(app, call, record, verdict, _by_kind(broken), suite=digest)
    reference = f"{record.name}@{record.version}"
    onward = (
        "mend at the source what doesn't, and import again" if broken else f"validate_data with dataset {reference}"
    )
    passed_over = [
        f"{one['kind'] or 'expectation'} at place {one['place'] + 1} of the suite: {one['why']}"
        for one in judged
        if one["holds"] is None
    ]
    return Validated(
        dataset=reference,
        verdict=verdict,
        failures=failures,
        warnings=warnings,
        findings=findings,
        not_looked_for=[
            *passed_over[:MOST_UNKEPT],
            *([f"and {len(passed_over) - MOST_UNKEPT} more"] if len(passed_over) > MOST_UNKEPT else []),
            "anything that the suite doesn't expect",
        ],
        next=f"{held} of {counted(len(judged), 'expectation')} held; {onward}.",
        untrusted=_apart(found, findings),
    )


async def _text_of(app: App, suite: str) -> str:
    """The suite itself, or what the file holds that it names."""
    if suite.lstrip()[:1] in ("{", "["):
        return suite
    async with app.scratch() as folder:
        copies = await asyncio.to_thread(
            copy_allowed, suite, app.settings.allowed_dirs, folder, most_bytes=MOST_SUITE_BYTES
        )
        content = await asyncio.to_thread(copies[0].path.read_bytes)
    if len(copies) > 1:
        raise InvalidInput("A suite is one file.", hint="Name the file itself.")
    return content.decode("utf-8", errors="replace")


def _unkept(one: dict[str, Any], *, hidden: bool) -> dict[str, Any]:
    """An expectation that doesn't hold, in the form of our own findings.

    Args:
        hidden: whether what was measured may be a person's value, such as a largest number.
    """
    unexpected, elements, observed = one["unexpected"], one["elements"], one["observed"]
    if unexpected is not None and elements:
        reason = f"{unexpected:,} of {counted(elements, 'value')} break it ({unexpected / elements:.1%})."
    else:
        reason = "It doesn't hold." if observed is None else "It doesn't hold for what was measured."
    return {
        "rule": _rule_of(one),
        "severity": _grade_of(one),
        "columns": list(one["columns"]),
        "count": unexpected or 0,
        "rows": list(one["rows"]),
        "spans": [[row, row] for row in one["rows"]],
        "reason": reason,
        "statistic": None if hidden else observed,
    }


def _by_kind(broken: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each kind of expectation that doesn't hold, what the history keeps, as of our own rules."""
    rules: dict[str, Any] = {}
    for one in broken:  # the gravest come first
        named = rules.setdefault(_rule_of(one), {"severity": _grade_of(one), "findings": 0, "count": 0})
        named["findings"] += 1
        named["count"] += one["unexpected"] or 0
    for named in rules.values():
        named["of"] = "rows" if named["count"] else "findings"
        named["count"] = named["count"] or named["findings"]
    return rules


def _rule_of(one: dict[str, Any]) -> str:
    return f"suite.{one['kind'].removeprefix('expect_')}"


def _grade_of(one: dict[str, Any]) -> str:
    return _GRADES[::-1][_SEVERE.index(one["severity"])]


async def history(app: App, name: str) -> dict[str, Any]:
    """The last validations of a data set, newest first: verdicts, and for each rule its rows, or its findings.

    A rule's count is None for a validation that couldn't tell: the rules of a suite are no other's.

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
                **({"suite": one.suite} if one.suite else {}),
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

    Of Courtside's own checks, or where there were none, of the suite that judged last.

    Raises:
        NotFound: as for `history`.
    """
    name, said, _ = await _validations(app, name)
    own = [one for one in said if one.suite is None]
    said = own or [one for one in said if one.suite == said[0].suite]
    oldest_first = said[::-1]
    arguments = {
        "name": name,
        "versions": [one.version for one in oldest_first],
        "verdicts": [one.verdict for one in oldest_first],
        "rules": {rule: [_count(rule, one) for one in oldest_first] for rule in _ranked(said, "warn")},
    }
    drawn = await (await app.compute()).run("draw_quality", arguments, timeout=DRAWING_SECONDS)
    return base64.b64decode(drawn["picture"])


async def _record(
    app: App,
    call: CallContext,
    record: DatasetVersion,
    verdict: str,
    rules: dict[str, Any],
    *,
    baseline: str | None = None,
    suite: str | None = None,
) -> None:
    from mcp_server.storage import validations

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await validations.add(
            tx,
            name=record.name,
            version=record.version,
            baseline=baseline,
            suite=suite,
            verdict=verdict,
            rules=rules,
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


def _counts(rule: str, said: Sequence[Validation]) -> list[int | None]:
    told_by = {one.suite for one in said if rule in one.rules}
    return [_count(rule, one) if one.suite in told_by else None for one in said]


def _count(rule: str, said: Validation) -> int:
    return int(said.rules.get(rule, {}).get("count", 0))


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
        return (
            "Import again with roles that set the leaking columns to known_after, then validate_data. If one is known "
            "in time: runbook://leak-found."
        )
    if failed:
        rule = rules[0]
        if rule in _OF_THE_WHOLE:
            return "Import the rows that are due; or prepare_data with a step contract that promises otherwise."
        if not failed[0]["rows"]:
            return f"Mend at the source what {rule} says, and import again."
        otherwise = "or a step contract that states it otherwise" if rule.startswith("rule.") else "or mend the source"
        return f"prepare_data with a step drop_rows and rule {rule}, {otherwise}."
    if any(finding["rule"] == "target.rare_class" for finding in findings):
        return (
            "Mend the classes of target.rare_class at the source, add rows of them, or leave them out by prepare_data "
            "with a step filter: training refuses a class with fewer than 8 rows to learn from."
        )
    onward = f"train_model with dataset {reference}." if targeted else "Import again with a target, to train on it."
    warned = next((finding["rule"] for finding in findings if finding["severity"] == "warn"), None)
    return onward if warned is None else f"Look at {warned} first. Then: {onward[0].lower()}{onward[1:]}"
