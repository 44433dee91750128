"""Model cards: Markdown from facts, never from adjectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.core.names import parse_reference
from mcp_server.workflows.app import App
from mcp_server.workflows.explanation_answers import fairness_lines
from mcp_server.workflows.fairness import column_apart
from mcp_server.workflows.reply import Apart, bounds, number, token

if TYPE_CHECKING:
    from mcp_server.storage.records import Assessment, ModelVersion, Verification


async def card(app: App, reference: str) -> str:
    """The card of a version; of the newest where none is named. Raises NotFound."""
    from mcp_server.storage import assessments, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        record = await models.get(tx, *parse_reference(reference))
        verification = await models.latest_verification(tx, record.name, record.version)
        assessment = await assessments.latest(tx, record.name, record.version)
    return render(record, verification, assessment)


def render(record: ModelVersion, verification: Verification | None, assessment: Assessment | None) -> str:
    """The card as Markdown; names from data that aren't plain words appear by their position."""
    manifest, metrics = record.manifest, record.metrics
    features = manifest["parameters"]["features"]
    verified = "never" if verification is None else f"{verification.verdict}, {_day(verification.at)}"
    lines = [
        f"# {record.name}@{record.version}",
        "",
        "| fact | value |",
        "|---|---|",
        f"| algorithm | {metrics['algorithm']} |",
        f"| task | {record.task} |",
        f"| target | {token(record.target, 'see the data contract')} |",
        f"| digest | `{record.digest}` |",
        f"| trained | {_day(record.created_at)} by {record.created_by} |",
        f"| data | {record.dataset}, {manifest['data']['rows']:,} rows |",
        f"| split | {Apart().text(metrics['split'])} |",
        f"| calibration | {metrics['calibration']} |",
        f"| verification | {verified} |",
        f"| seed | {manifest['parameters']['seed']} |",
        "",
        "## On the test rows",
        "",
        "| metric | value | 95 % interval | on the training rows |",
        "|---|---|---|---|",
    ]
    for name, estimate in metrics["test"].items():
        train = metrics.get("train", {}).get(name)
        lines.append(
            f"| {name} | {number(estimate['value'])} | {bounds(estimate).strip() or '–'} "
            f"| {number(train) if train is not None else '–'} |"
        )
    lines += ["", f"Without any feature: {_baseline(metrics)}.", "", f"## Features ({len(features)})", ""]
    lines += [f"- {token(feature, f'feature {index}')}" for index, feature in enumerate(features[:50], start=1)]
    if len(features) > 50:
        lines.append(f"- and {len(features) - 50} more")
    lines += [] if assessment is None else _groups(assessment)
    lines += [
        "",
        "## Limits",
        "",
        f"- It was tested on {metrics['rows']['test']:,} rows; differences smaller than the intervals aren't known.",
        "- Outside the ranges and categories of its data it answers with a flag, without a promise.",
        *_leaks(manifest["parameters"]),
        "- Groups of rows were not looked at one by one; an average can hide a bad group."
        if assessment is None
        else "- Groups of other columns than those above were not looked at.",
    ]
    return "\n".join(lines) + "\n"


def _groups(assessment: Assessment) -> list[str]:
    """What the latest comparison of groups found; names that aren't plain words appear by a number."""
    apart = Apart()
    lines = ["", f"## Groups ({assessment.dataset}, {assessment.found['rows']:,} rows, {_day(assessment.at)})"]
    for column in assessment.found["columns"]:
        told, *rest = fairness_lines(column_apart(column, apart))
        lines += ["", told, "", *(line if line.startswith("- ") else f"- {line}" for line in rest)]
    return lines


def _baseline(metrics: dict[str, Any]) -> str:
    shown = [f"{name} {number(value)}" for name, value in metrics.get("baseline", {}).items()]
    return ", ".join(shown) or "not measured"


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _leaks(parameters: dict[str, Any]) -> list[str]:
    if not parameters["allow_leaks"]:
        return []
    return ["- Trained with leaks allowed: its figures may not be reached on rows whose outcome isn't known yet."]
