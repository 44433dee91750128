"""Model cards: Markdown from facts, never from adjectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcp_server.workflows.app import App
from mcp_server.workflows.explanation_answers import fairness_lines
from mcp_server.workflows.fairness import column_apart
from mcp_server.workflows.reply import Apart, bounds, counted, number, token

if TYPE_CHECKING:
    from mcp_server.storage.ledger import Part
    from mcp_server.storage.records import Assessment, ModelVersion, Standing, Verification

NOT_AS_SIGNED = "not as signed"


async def card(app: App, reference: str) -> str:
    """The card of a version; of the newest where none is named. Raises NotFound."""
    return (await written(app, reference, Apart()))[0]


async def written(app: App, reference: str, apart: Apart) -> tuple[str, ModelVersion, Assessment | None]:
    """The card, what it's of, and the comparison of groups that it tells.

    Args:
        apart: takes the names that go by a number on it.
    """
    from mcp_server.storage import assessments, governance, ledger, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        record = await models.named(tx, reference)
        verification = await models.latest_verification(tx, record.name, record.version)
        assessment = await assessments.latest(tx, record.name, record.version)
        standing = await governance.get(tx, record)
        wrong = await ledger.wrong(tx, record.name, record.version)
    return render(record, verification, assessment, standing, wrong, apart), record, assessment


def missing_on_card(
    record: ModelVersion, verification: Verification | None, assessment: Assessment | None, sensitive: Sequence[str]
) -> tuple[str, ...]:
    """What a card lacks, in words of ours.

    Args:
        sensitive: the columns by whose groups the version has to be compared.
    """
    lacking = [] if verification is not None else ["a verification"]
    lacking += [
        f"an interval of {name}" for name, found in record.metrics.get("test", {}).items() if found["low"] is None
    ]
    lacking += [] if record.metrics.get("test") else ["figures on test rows"]
    lacking += [] if record.metrics.get("baseline") else ["a baseline"]
    lacking += ["rows that it wasn't trained on"] if not _held_out(record.manifest) else []
    compared = set() if assessment is None else {one["column"] for one in assessment.found["columns"]}
    apart = len(set(sensitive) - compared)
    return (*lacking, *([f"a comparison of the groups of {counted(apart, 'sensitive column')}"] if apart else []))


def render(
    record: ModelVersion,
    verification: Verification | None,
    assessment: Assessment | None,
    standing: Standing,
    wrong: Sequence[Part] = (),
    apart: Apart | None = None,
) -> str:
    """The card as Markdown; names from data that aren't plain words appear by their position.

    Args:
        wrong: what isn't as sealed, so that it's said to be so and not repeated.
        apart: takes these names.
    """
    apart = apart or Apart()
    manifest, metrics = record.manifest, record.metrics
    features = manifest["parameters"]["features"]
    adopted = manifest.get("adopted")
    held_out = _held_out(manifest)
    maker = NOT_AS_SIGNED if "standing" in wrong else record.created_by
    verified = "never" if verification is None else f"{verification.verdict}, {_day(verification.at)}"
    if "verdict" in wrong:
        verified = NOT_AS_SIGNED
    lines = [
        f"# {record.name}@{record.version}",
        "",
        "| fact | value |",
        "|---|---|",
        f"| algorithm | {metrics['algorithm']} |",
        f"| task | {record.task} |",
        f"| target | {token(record.target, 'see the data contract')} |",
        f"| digest | `{record.digest}` |",
        f"| {'adopted' if 'adopted' in manifest else 'trained'} | {_day(record.created_at)} by {maker} |",
        *_origin(adopted),
        f"| data | {record.dataset}, {manifest['data']['rows']:,} rows |",
        f"| split | {apart.text(metrics['split'])} |",
        f"| calibration | {metrics['calibration']} |",
        *_costs(manifest["parameters"].get("costs")),
        f"| verification | {verified} |",
        *([f"| stage | {NOT_AS_SIGNED} |"] if "standing" in wrong else _answerable(standing)),
        f"| seed | {manifest['parameters']['seed']} |",
        "",
        "## On the test rows" if held_out else "## On rows that it may have been trained on",
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
    for index, feature in enumerate(features[:50], start=1):
        shown = token(feature, f"feature {index}")
        apart.names |= {shown: feature} if shown != feature else {}
        lines.append(f"- {shown}")
    if len(features) > 50:
        lines.append(f"- and {len(features) - 50} more")
    lines += [] if assessment is None else _groups(assessment, apart)
    lines += [
        "",
        "## Limits",
        "",
        f"- It was tested on {metrics['rows']['test']:,} rows; differences smaller than the intervals aren't known."
        if held_out
        else "- It may have been trained on the rows that it was measured on: the figures above are no evidence.",
        "- Outside the ranges and categories of its data it answers with a flag, without a promise.",
        *_leaks(manifest["parameters"]),
        "- Groups of rows were not looked at one by one; an average can hide a bad group."
        if assessment is None
        else "- Groups of other columns than those above were not looked at.",
    ]
    return "\n".join(lines) + "\n"


def _origin(adopted: dict[str, Any] | None) -> list[str]:
    """Where an adopted version came from; the file's name is a person's, so it's shown where it's a plain word."""
    if adopted is None:
        return []
    steps = ", ".join(token(step, "a step") for step in adopted["steps"][:10])
    written = ", ".join(token(one, "unknown") for one in adopted["scikit_learn"]) or "unknown"
    return [
        f"| source | {token(adopted['file'], 'a file')}, {adopted['kind']}, `{adopted['digest']}` |",
        f"| audit of the source | {adopted['verdict']} |",
        f"| steps | {steps} |",
        f"| written by scikit-learn | {written} |",
    ]


def _held_out(manifest: dict[str, Any]) -> bool:
    """Whether it's known that a version was measured on rows that it wasn't trained on."""
    return "adopted" not in manifest or bool(manifest["adopted"]["held_out"])


def _costs(costs: dict[str, float] | None) -> list[str]:
    """What the errors cost as stated, and where `predict` says the second class for that."""
    if not costs:
        return []
    wrong, missed = costs["false_positive"], costs["false_negative"]
    beyond = number(wrong / (wrong + missed), 3)
    told = f"{wrong:g} for a false positive, {missed:g} for a false negative"
    return [f"| costs | {told}: the second class is said beyond a probability of {beyond} |"]


def _answerable(standing: Standing) -> list[str]:
    """Stage, owner, tags and approvals; notes are left to `review_model`, which sets them apart."""
    by = "" if standing.policy is None else f", by policy `{standing.policy[:19]}…`"
    since = "" if standing.at is None else f", {_day(standing.at)}"
    tags = ", ".join(f"{key}={value}" for key, value in standing.tags.items())
    return [
        f"| stage | {standing.stage}{since}{by} |",
        f"| owner | {standing.owner or 'none'} |",
        *([f"| tags | {tags} |"] if tags else []),
        *(f"| approved for {one.stage} | by {one.approver}, {_day(one.at)} |" for one in standing.approvals),
    ]


def _groups(assessment: Assessment, apart: Apart) -> list[str]:
    """What the latest comparison of groups found; names that aren't plain words appear by a number."""
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
