"""Is a data set version fit for use: rules, rows and reasons, and what wasn't looked for."""

from __future__ import annotations

from typing import Any

from mcp_server.context import CallContext
from mcp_server.workflows.app import App
from mcp_server.workflows.data_answers import Validated
from mcp_server.workflows.describing import find
from mcp_server.workflows.reply import token

SEED = 0
MOST_ROWS = 20


async def validate(app: App, call: CallContext, dataset: str, baseline: str | None) -> Validated:
    """Check a version in the computing child."""
    record = await find(app, dataset)
    storage = await app.storage()
    arguments: dict[str, Any] = {
        "path": str(await storage.artefacts.local_path(record.artefact)),
        "contract": record.contract,
        "seed": SEED,
        "now": call.clock.now().isoformat(),
    }
    if baseline is not None:
        reference = await find(app, baseline)
        arguments["baseline"] = str(await storage.artefacts.local_path(reference.artefact))
    report = await (await app.compute()).run("validate", arguments, timeout=call.remaining(), progress=call.report)
    positions = {column["name"]: index for index, column in enumerate(record.contract["columns"], start=1)}
    findings = [_finding(finding, positions) for finding in report["findings"]]
    failures = sum(finding["severity"] == "fail" for finding in findings)
    warnings = sum(finding["severity"] == "warn" for finding in findings)
    return Validated(
        dataset=f"{record.name}@{record.version}",
        verdict=report["verdict"],
        failures=failures,
        warnings=warnings,
        findings=findings,
        not_looked_for=report["not_looked_for"],
        next=_next(report["verdict"], findings, f"{record.name}@{record.version}"),
        untrusted=_names(report["findings"], findings),
    )


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
    }


def _names(found: list[dict[str, Any]], told: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The column names that a finding couldn't show among our own words."""
    hidden = {
        shown: name
        for one, other in zip(found, told, strict=True)
        for name, shown in zip(one["columns"], other["columns"], strict=True)
        if shown != name
    }
    return {"column_names": hidden} if hidden else None


def _next(verdict: str, findings: list[dict[str, Any]], reference: str) -> str:
    if any(finding["rule"].startswith("leak") and finding["severity"] == "fail" for finding in findings):
        return "Import again with roles that set the leaking columns to known_after, then validate_data."
    if verdict == "fail":
        return "Mend the named rows at their source and import again; or filter them out on import."
    return f"train_model with dataset {reference}."
