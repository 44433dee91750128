"""What a report is made of: each section asks the workflow that a tool asks, and keeps what it said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import check_name
from mcp_server.core.reports import writing
from mcp_server.core.reports.sheet import Fact, flattened
from mcp_server.errors import CourtsideError, InvalidInput, from_code
from mcp_server.workflows import cards, comparing, describing, experiments, explaining, health, lineage, validating
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import Apart, Reply, bounds, counted, number, token

MOST_LETTERS = 6_000
MOST_COLUMNS = 40
MOST_RUNS = 15
MOST_ABREAST = 3
MOST_NOTE = 2_000
MOST_LEAD = 400
_FIGURES = 4


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
        hint = f"{error.hint} A section of this kind is written {_form(asked.kind)}."
        raise from_code(error.code, told, hint=hint, details=error.details) from error


async def _note(_app: App, call: CallContext, text: str) -> Section:
    said = f"By {call.caller.id}; nothing of it was checked."
    facts = flattened({"by": call.caller.id, "untrusted": {"text": text}})
    return Section("note", "", "Note", said, [writing.quoted(text), said], facts)


async def _data(app: App, call: CallContext, reference: str) -> Section:
    answer = await describing.describe(app, reference, call=call)
    listed = list((answer.untrusted or {}).get("profile", {}).get("listed", []))
    columns, names = _columns(listed)
    more = answer.columns - min(len(listed), MOST_COLUMNS)
    left = f"And {counted(more, 'more column')}: data://{answer.dataset}/profile." if more else ""
    return Section(
        "data",
        str(answer.dataset),
        f"Data {answer.dataset}",
        answer.lines()[0],
        [writing.prose(answer.lines(), MOST_LETTERS), columns, left],
        _facts(answer),
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
    apart = Apart()
    card, record, assessment = await cards.written(app, reference, apart)
    name = f"{record.name}@{record.version}"
    body = card.partition("\n")[2].replace("\n## ", "\n### ").strip()
    figures = {"digest": record.digest, "task": record.task, "dataset": record.dataset, **_measured(record.metrics)}
    compared = [] if assessment is None else assessment.found["columns"]
    figures["untrusted"] = {
        "target": record.target,
        "features": record.manifest["parameters"]["features"],
        "groups": [{"column": one["column"], "names": [group["name"] for group in one["groups"]]} for one in compared],
        "names": apart.names,
    }
    tested = list(record.metrics.get("test", {}).items())[:_FIGURES]
    told = ", ".join(f"{metric} {number(one['value'])}{bounds(one)}" for metric, one in tested)
    lead = f"{name}: {record.metrics['algorithm']}, {told or 'not measured'}."
    return Section(
        "model", name, f"Model {name}", lead, [writing.cut(body, MOST_LETTERS)], flattened(figures), apart=apart.names
    )


def _measured(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in ("algorithm", "calibration", "rows", "test", "baseline") if name in metrics}


async def _comparison(app: App, call: CallContext, references: str) -> Section:
    models = [part.strip() for part in references.split(",")]
    answer = await comparing.compare(app, call, comparing.ComparisonRequest(models=models))
    names = [one["model"] for one in answer.models]
    metrics = list(answer.models[0]["metrics"])
    figures = _figures({one["model"]: one["metrics"] for one in answer.models}, metrics)
    title = f"Comparison of {', '.join(names[:-1])} and {names[-1]}"
    return _said("comparison", ", ".join(names), title, answer, figures)


def _figures(models: dict[str, dict[str, Any]], metrics: Sequence[str]) -> str:
    """A table of estimates: of few models a column each, so that they stand side by side; of more a row each."""
    if len(models) <= MOST_ABREAST:
        rows = [[_worded(name), *(_estimate(one.get(name)) for one in models.values())] for name in metrics]
        return writing.table(["metric", *models], rows, numbers=range(1, len(models) + 1))
    rows = [[name, *(_estimate(one.get(metric)) for metric in metrics)] for name, one in models.items()]
    return writing.table(["model", *map(_worded, metrics)], rows, numbers=range(1, len(metrics) + 1))


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
    name = check_name(model)
    page = await experiments.search(app, f"model={name}", MOST_RUNS, None)
    runs = page.runs or []
    if not runs:
        raise experiments.never_trained()
    name = runs[0]["model"]
    # Failed runs have none, and nothing can be drawn of them.
    metrics = list(next((one["metrics"] for one in runs if one["metrics"]), {}))[:_FIGURES]
    rows = [
        [
            one["started_at"][:16].replace("T", " "),
            one["algorithm"],
            one.get("dataset", "–"),
            one["status"],
            *(_triple(one["metrics"].get(metric)) for metric in metrics),
        ]
        for one in runs
    ]
    head = ["began (UTC)", "algorithm", "data", "ended", *map(_worded, metrics)]
    which = "latest run" if page.cursor else "run"
    lead = f"{name}: the {counted(len(rows), which)}, the newest first." if len(rows) > 1 else f"{name}: one run."
    pictures = [(await experiments.picture(app, name, None), f"The runs of {name}, best so far.")] if metrics else []
    table = writing.table(head, rows, numbers=range(4, len(head)))
    return Section("history", name, f"History of {name}", lead, [lead, table], flattened({"runs": runs}), pictures)


def _triple(estimate: Sequence[float | None] | None) -> str:
    if estimate is None or estimate[0] is None:
        return "–"
    return _estimate(dict(zip(("value", "low", "high"), estimate, strict=True)))


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
    return Section(
        "lineage",
        known,
        f"Lineage of {known}",
        lead,
        [writing.prose(lines, MOST_LETTERS)],
        flattened(document),
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
        _facts(answer),
        [(png, f"{title}, drawn.") for png in answer.pictures],
        dict(answer.untrusted or {}),
    )


def _facts(answer: Reply) -> list[Fact]:
    """Everything that a tool's answer states; what is from data stands under `untrusted`."""
    return flattened(answer.model_dump(mode="json", exclude_none=True, exclude={"next"}))


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
