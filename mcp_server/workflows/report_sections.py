"""What a report is made of: each section asks the workflow that a tool asks, and keeps what it said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import parse_reference
from mcp_server.core.reports import writing
from mcp_server.core.reports.sheet import Fact, flattened
from mcp_server.errors import CourtsideError, InvalidInput, from_code
from mcp_server.workflows import cards, comparing, describing, experiments, explaining, health, lineage, validating
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import Reply, bounds, counted, number, token

MOST_LETTERS = 6_000
MOST_APART = 1_500
MOST_COLUMNS = 40
MOST_RUNS = 15
MOST_NOTE = 2_000
MOST_LEAD = 400
_FIGURES = 4
_UNSAID = frozenset({"next", "untrusted"})


@dataclass(frozen=True, slots=True)
class AskedSection:
    """A section as it was asked for.

    Args:
        about: a reference, several with commas between, or a note's text; empty for `health`.
    """

    kind: str
    about: str

    @property
    def text(self) -> str:
        return f"{self.kind}:{self.about}" if self.about else self.kind


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it was made.

    Args:
        about: what it speaks of, with versions.
        title: without the report's numbering; our own words.
        lead: its one sentence; our own words.
        parts: Markdown, one after the other.
        pictures: PNG files with what each says.
        facts: paths and values.
        apart: text from data that its parts speak of.
    """

    kind: str
    about: str
    title: str
    lead: str
    parts: Sequence[str]
    facts: Sequence[Fact] = ()
    pictures: Sequence[tuple[bytes, str]] = ()
    apart: dict[str, Any] = field(default_factory=dict)

    @property
    def in_short(self) -> str:
        """One line that can stand alone."""
        lead = label(self.lead, MOST_LEAD)
        return lead if self.about and lead.startswith(self.about) else f"{self.title}: {lead}"


Maker = Callable[[App, CallContext, str], Awaitable[Section]]


def parsed(sections: Sequence[str]) -> list[AskedSection]:
    """What is asked for.

    Raises:
        InvalidInput: a section isn't of a kind that there is, or lacks what it's about.
    """
    found = []
    for place, text in enumerate(sections, start=1):
        kind, _, about = (part.strip() for part in text.partition(":"))
        if kind not in MAKERS:
            raise InvalidInput(f"Section {place} is of no kind that there is.", hint=f"Kinds: {', '.join(FORMS)}.")
        if bool(about) == (kind == "health"):
            needs = "stands alone" if kind == "health" else "needs what it's about"
            raise InvalidInput(f"Section {place} {needs}.", hint=f"Write {_form(kind)}.")
        if kind == "note" and len(about) > MOST_NOTE:
            raise InvalidInput(f"The note in section {place} is longer than {MOST_NOTE:,} characters.", hint="Cut it.")
        found.append(AskedSection(kind, about))
    return found


def _form(kind: str) -> str:
    return next(form for form in FORMS if form.partition(":")[0] == kind)


async def make(app: App, call: CallContext, asked: AskedSection, place: int, of: int) -> Section:
    """Ask for one section.

    Args:
        place: from 1; of: how many there are.
    Raises:
        CourtsideError: as the section's own tool does, with the place.
    """

    async def progress(done: float, total: float | None, message: str) -> None:
        await call.report((place - 1 + done / (total or 1.0)) / of, f"Section {place}, {asked.kind}: {message}")

    # What a section notes down, such as a validation, is its own: the key and the answer are the whole report's.
    own = replace(call, key=None, request_id=f"{call.request_id}.{place}", progress=progress)
    try:
        return await MAKERS[asked.kind](app, own, asked.about)
    except CourtsideError as error:
        told = f"Section {place}, {asked.kind}: {error.message}"
        raise from_code(error.code, told, hint=error.hint, details=error.details) from error


async def _note(_app: App, call: CallContext, text: str) -> Section:
    said = f"By {call.caller.id}; nothing of it was checked."
    return Section("note", "", "Note", said, [writing.quoted(text), said], [("by", call.caller.id), ("text", text)])


async def _data(app: App, call: CallContext, reference: str) -> Section:
    answer = await describing.describe(app, reference, call=call)
    profile = dict((answer.untrusted or {}).get("profile", {}))
    columns, names = _columns(profile.get("listed", []))
    return Section(
        "data",
        str(answer.dataset),
        f"Data {answer.dataset}",
        answer.lines()[0],
        [writing.prose(answer.lines(), MOST_LETTERS), columns],
        _facts(answer, {"columns": profile.get("listed", [])}),
        apart={"columns": names} if names else {},
    )


def _columns(listed: Sequence[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """A table of columns; names that aren't plain words go by their position, and come back beside it."""
    names: dict[str, str] = {}
    rows = []
    for one in listed[:MOST_COLUMNS]:
        shown = token(one["name"], f"column {one['position']}")
        if shown != one["name"]:
            names[shown] = one["name"]
        middle = (one.get("quantiles") or {}).get("p50")
        figures = [one.get("min"), middle, one.get("max")]
        rows.append(
            [
                shown,
                str(one["kind"]),
                str(one["role"]),
                *(f"{one[name]:,}" if isinstance(one.get(name), int) else "" for name in ("missing", "distinct")),
                *(number(value) if isinstance(value, int | float) else "" for value in figures),
            ]
        )
    head = ["column", "kind", "role", "missing", "distinct", "least", "median", "greatest"]
    return writing.table(head, rows, numbers=range(3, 8)), names


async def _validation(app: App, call: CallContext, reference: str) -> Section:
    answer = await validating.validate(app, call, reference, None)
    return _said("validation", answer.dataset, f"Validation of {answer.dataset}", answer)


async def _model(app: App, _call: CallContext, reference: str) -> Section:
    from mcp_server.storage import models

    card = await cards.card(app, reference)
    async with (await app.storage()).database.reading() as tx:
        record = await models.get(tx, *parse_reference(reference))
    name = f"{record.name}@{record.version}"
    body = card.partition("\n")[2].replace("\n## ", "\n### ").strip()
    figures = {"digest": record.digest, "task": record.task, "dataset": record.dataset, **_measured(record.metrics)}
    tested = list(record.metrics.get("test", {}).items())[:_FIGURES]
    told = ", ".join(f"{metric} {number(one['value'])}{bounds(one)}" for metric, one in tested)
    lead = f"{name}: {record.metrics['algorithm']}, {told or 'not measured'}."
    return Section("model", name, f"Model {name}", lead, [_cut(body)], flattened(figures))


def _measured(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in ("algorithm", "calibration", "rows", "test", "baseline") if name in metrics}


async def _comparison(app: App, call: CallContext, references: str) -> Section:
    models = [part.strip() for part in references.split(",")]
    answer = await comparing.compare(app, call, comparing.ComparisonRequest(models=models))
    names = [one["model"] for one in answer.models]
    metrics = list(answer.models[0]["metrics"])
    rows = [[_worded(name), *(_estimate(one["metrics"].get(name)) for one in answer.models)] for name in metrics]
    figures = writing.table(["metric", *names], rows, numbers=range(1, len(names) + 1))
    title = f"Comparison of {', '.join(names[:-1])} and {names[-1]}"
    return _said("comparison", ", ".join(names), title, answer, figures)


def _worded(metric: str) -> str:
    """As words, between which a narrow column can break."""
    return metric.replace("_", " ")


def _estimate(one: dict[str, Any] | None) -> str:
    return "–" if one is None else f"{number(one['value'])}{bounds(one)}"


async def _explanation(app: App, call: CallContext, reference: str) -> Section:
    answer = await explaining.explain(app, call, _explaining(reference, groups=None))
    return _said("explanation", answer.model, f"What {answer.model} goes by", answer)


async def _fairness(app: App, call: CallContext, asked: str) -> Section:
    """Of the sensitive columns that the contract states, unless some are named behind the version."""
    reference, *columns = (part.strip() for part in asked.split(","))
    answer = await explaining.explain(app, call, _explaining(reference, groups=columns))
    return _said("fairness", answer.model, f"Groups under {answer.model}", answer)


def _explaining(reference: str, *, groups: list[str] | None) -> explaining.ExplainingRequest:
    return explaining.ExplainingRequest(
        model=reference, rows=None, dataset=None, fixed=[], move=None, groups=groups, limits={}, picture=True
    )


async def _history(app: App, _call: CallContext, model: str) -> Section:
    document = await experiments.history(app, model, None)
    runs = document["runs"]
    # A run that came from elsewhere may call its metrics and its algorithm anything.
    tested: dict[str, Any] = next((one["metrics"]["test"] for one in runs if one["metrics"].get("test")), {})
    metrics = [name for name in tested if token(name, "")][:_FIGURES]
    rows = [
        [
            one["started_at"][:16].replace("T", " "),
            token(str(one["parameters"].get("algorithm", "")), "–"),
            one["dataset"] or "–",
            one["status"],
            *(_estimate(one["metrics"].get("test", {}).get(name)) for name in metrics),
        ]
        for one in runs[:MOST_RUNS]
    ]
    head = ["began (UTC)", "algorithm", "data", "ended", *map(_worded, metrics)]
    table = writing.table(head, rows, numbers=range(4, len(head)))
    more = len(runs) > MOST_RUNS or "cursor" in document
    lead = f"{document['model']}: the {counted(len(rows), 'latest run' if more else 'run')}, the newest first."
    pictures = [(await experiments.picture(app, model, None), f"The runs of {document['model']}, best so far.")]
    facts = [{name: one[name] for name in ("id", "dataset", "status", "started_at", "metrics")} for one in runs]
    return Section(
        "history",
        document["model"],
        f"History of {document['model']}",
        lead,
        [lead, table],
        flattened({"runs": facts}),
        pictures if metrics else [],
    )


async def _lineage(app: App, _call: CallContext, reference: str) -> Section:
    document = await lineage.trace(app, reference)
    known = document["reference"]
    lead = f"{known}: what it was made from, and what was made from it."
    lines = [lead]
    for name, one in document.get("models", {}).items():
        lines.append(f"- model {name}, trained {one['trained_at']} from {one['made_from']}: `{one['digest']}`")
    for name, one in document.get("datasets", {}).items():
        lines.append(f"- data {name}, {counted(one['rows'], 'row')}, stored {one['stored_at']}: `{one['digest']}`")
    drawn = [(await lineage.picture(app, reference), f"The lineage of {known}.")]
    facts = {name: part for name, part in document.items() if name != "untrusted"}
    return Section(
        "lineage",
        known,
        f"Lineage of {known}",
        lead,
        [writing.prose(lines, MOST_LETTERS)],
        flattened(facts),
        drawn,
    )


async def _health(app: App, _call: CallContext, _about: str) -> Section:
    return _said("health", "", "Health", await health.report(app))


def _said(kind: str, about: str, title: str, answer: Reply, *further: str) -> Section:
    """A section of what a tool's answer says."""
    lines = answer.lines()
    return Section(
        kind,
        about,
        title,
        lines[0],
        [writing.prose(lines, MOST_LETTERS), *further],
        _facts(answer, {}),
        [(png, f"{title}, drawn.") for png in answer.pictures],
        dict(answer.untrusted or {}),
    )


def _facts(answer: Reply, further: dict[str, Any]) -> list[Fact]:
    stated = answer.model_dump(mode="json", exclude_none=True)
    return flattened({name: part for name, part in stated.items() if name not in _UNSAID} | further)


def _cut(text: str) -> str:
    if len(text) <= MOST_LETTERS:
        return text
    return f"{text[:MOST_LETTERS].rpartition(chr(10))[0]}\n\n{writing.CUT}"


MAKERS: dict[str, Maker] = {
    "note": _note,
    "data": _data,
    "validation": _validation,
    "model": _model,
    "comparison": _comparison,
    "explanation": _explanation,
    "fairness": _fairness,
    "history": _history,
    "lineage": _lineage,
    "health": _health,
}

FORMS = (
    *("note:TEXT", "data:NAME@V", "validation:NAME@V", "model:NAME@V", "comparison:A@V,B@V", "explanation:NAME@V"),
    *("fairness:NAME@V,COLUMN", "history:NAME", "lineage:NAME@V", "health"),
)
"""How each kind is written."""
