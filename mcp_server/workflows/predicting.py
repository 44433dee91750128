"""Predictions: answered by a verified version, stored before they are answered."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import CorruptArtefact, InvalidInput, QuotaExceeded
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.model_answers import Predicted, decided
from mcp_server.workflows.reply import places, token
from mcp_server.workflows.verifying import note_unreadable

if TYPE_CHECKING:
    from mcp_server.core.predictor import Answer, Flag
    from mcp_server.serving.predictors import Loaded
    from mcp_server.storage.records import PredictionRecord

MOST_LOADED = 64
# The loop serves others in between.
SECONDS_AT_ONCE = 0.005
MOST_FLAGS = 8
MOST_CLASSES = 5


async def predict(
    app: App, call: CallContext, model: str, rows: list[dict[str, Any]] | None, dataset: str | None, show: int
) -> Predicted:
    """Answer rows, or every row of a data set version.

    Raises:
        InvalidInput: not exactly one of rows and dataset, or a row that doesn't fit the model (which one is said).
        QuotaExceeded: more rows than one call may have.
        Unverified, NotFound, CorruptArtefact: the model may not answer.
    """
    if (rows is None) == (dataset is None):
        raise InvalidInput(
            "Give either rows or dataset.", hint='rows as [{"column": value}], or dataset as name@version.'
        )
    try:
        loaded = await (await app.predictors()).get(model)
    except CorruptArtefact as refused:
        await note_unreadable(app, call, model, refused)
        raise
    if rows is None:
        assert dataset is not None
        rows = await _rows_of(app, call, loaded, dataset)
    if len(rows) > app.settings.max_predict_rows:
        raise QuotaExceeded(
            f"{len(rows):,} rows; one call may have {app.settings.max_predict_rows:,}.",
            hint="Send them in several calls.",
            details={"limit": app.settings.max_predict_rows},
        )
    answers = await _answers(loaded, rows)
    records = _records(app, call, loaded, rows, answers)
    answer = _predicted(loaded, records, answers, show)
    storage = await app.storage()
    if call.key is None:
        await storage.predictions.append(records)
        return answer
    from mcp_server.storage import predictions

    async with storage.database.transaction(call) as tx:
        await predictions.add(tx, records)
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"model:{loaded.reference}")
    return answer


async def _answers(loaded: Loaded, rows: list[dict[str, Any]]) -> list[Answer]:
    answers = []
    clock = asyncio.get_running_loop().time
    until = clock() + SECONDS_AT_ONCE
    for index, row in enumerate(rows):
        if clock() > until:
            await asyncio.sleep(0)
            until = clock() + SECONDS_AT_ONCE
        try:
            answers.append(loaded.predictor.answer(_read(loaded, row)))
        except InvalidInput as refused:
            if len(rows) == 1:
                raise
            raise InvalidInput(
                f"Row {index + 1}: {refused.message}", hint=refused.hint, details=refused.details
            ) from None
    return answers


def _read(loaded: Loaded, row: dict[str, Any]) -> dict[str, Any]:
    """The row without columns of the training table that the model doesn't read, such as a key or the target."""
    if loaded.unread.isdisjoint(row):
        return row
    return {name: value for name, value in row.items() if name not in loaded.unread}


async def _rows_of(app: App, call: CallContext, loaded: Loaded, dataset: str) -> list[dict[str, Any]]:
    record = await find(app, dataset)
    if record.rows > app.settings.max_predict_rows:
        raise QuotaExceeded(
            f"{record.name}@{record.version} has {record.rows:,} rows; one call may have "
            f"{app.settings.max_predict_rows:,}.",
            hint="Import the rows you want answered as a data set of their own, with a filter.",
        )
    storage = await app.storage()
    path = await storage.artefacts.local_path(record.artefact)
    read = await (await app.compute()).run(
        "read_rows",
        {
            "path": str(path),
            "columns": list(loaded.predictor.required + loaded.predictor.optional),
            "required": list(loaded.predictor.required),
        },
        timeout=call.remaining(),
    )
    rows: list[dict[str, Any]] = read["rows"]
    return rows


def _records(
    app: App, call: CallContext, loaded: Loaded, rows: list[dict[str, Any]], answers: list[Answer]
) -> list[PredictionRecord]:
    from mcp_server.storage.ids import new_ids
    from mcp_server.storage.records import PredictionRecord

    now = app.clock.now()
    ids = new_ids("p", len(rows), now)
    return [
        PredictionRecord(
            id=id,
            at=now,
            model=loaded.name,
            version=loaded.version,
            digest=loaded.digest,
            caller=call.caller.id,
            request_id=call.request_id,
            features=row,
            value=answer.value,
            probability=answer.probability,
            answer=_rest(answer),
            flags=[_flag(loaded, flag) for flag in answer.flags],
            personal=loaded.personal,
        )
        for id, row, answer in zip(ids, rows, answers, strict=True)
    ]


def _flag(loaded: Loaded, flag: Flag) -> dict[str, Any]:
    """A flag as it is stored and answered; a personal value isn't repeated."""
    personal = flag.column in loaded.personal and flag.kind != "missing"
    detail = "The value isn't repeated: the column is personal." if personal else flag.detail
    return {"column": flag.column, "kind": flag.kind, "detail": detail}


def _rest(answer: Answer) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    if answer.probabilities is not None:
        rest["probabilities"] = answer.probabilities
    if answer.interval is not None:
        rest["interval"] = list(answer.interval)
    return rest


def _predicted(loaded: Loaded, records: list[PredictionRecord], answers: list[Answer], show: int) -> Predicted:
    flagged = sum(bool(answer.flags) for answer in answers)
    # Rows that want a look come first; otherwise a long request would show the first rows and hide the odd ones.
    order = sorted(range(len(answers)), key=lambda index: (not answers[index].flags, index))[:show]
    shown = [_shown(loaded, index, records[index], answers[index]) for index in sorted(order)]
    details = [{"id": records[i].id, "flags": records[i].flags[:MOST_FLAGS]} for i in sorted(order) if records[i].flags]
    outside = any(flag.kind != "missing" for answer in answers for flag in answer.flags)
    untrusted: dict[str, Any] = {"flags": details} if details else {}
    if hidden := _stand_ins(tuple(loaded.predictor.form.classes or ())):
        untrusted["classes"] = hidden
    return Predicted(
        model=loaded.reference,
        digest=loaded.digest,
        count=len(records),
        predictions=shown,
        flagged=flagged,
        truncated=len(records) > len(shown),
        decision=_decision(loaded),
        next="Check the flagged rows: some values lie outside what the model was trained on." if outside else None,
        untrusted=untrusted or None,
    )


def _decision(loaded: Loaded) -> str | None:
    form = loaded.predictor.form
    if form.decision is None or form.classes is None:
        return None
    return decided(_shown_names(tuple(form.classes), "class")[form.classes[1]], form.threshold)


@lru_cache(maxsize=MOST_LOADED)
def _shown_names(names: tuple[str, ...], noun: str) -> dict[str, str]:
    """How each name from data is shown among our own words: itself, or a stand-in such as `class 2`."""
    return {name: token(name, f"{noun} {place}") for place, name in enumerate(names, start=1)}


@lru_cache(maxsize=MOST_LOADED)
def _stand_ins(classes: tuple[str, ...]) -> dict[str, str]:
    """The classes whose names can't stand among our own words, by their stand-ins."""
    return {shown: name for name, shown in _shown_names(classes, "class").items() if shown != name}


def _shown(loaded: Loaded, index: int, record: PredictionRecord, answer: Answer) -> dict[str, Any]:
    form = loaded.predictor.form
    classes = _shown_names(tuple(form.classes or ()), "class")
    value: Any = answer.value
    if isinstance(value, str):
        value = classes[value]
    elif isinstance(value, float):
        # The log keeps it exactly; no model knows its answer to 16 digits.
        value = round(value, places(value))
    one: dict[str, Any] = {"row": index + 1, "id": record.id, "value": value}
    if answer.probability is not None:
        one["probability"] = round(answer.probability, 6)
    if answer.probabilities is not None and len(answer.probabilities) > 2:
        ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[:MOST_CLASSES]
        one["probabilities"] = {classes[name]: round(share, 6) for name, share in ranked}
    if answer.interval is not None:
        one["interval"] = [round(bound, places(bound)) for bound in answer.interval]
        one["level"] = form.interval.level if form.interval else None
    if answer.flags:
        inputs = _shown_names(loaded.predictor.required + loaded.predictor.optional, "input")
        # What is strange comes before what is merely absent.
        flags = sorted(answer.flags, key=lambda flag: flag.kind == "missing")
        one["flags"] = [f"{flag.kind} {inputs[flag.column]}" for flag in flags[:MOST_FLAGS]]
        if len(flags) > MOST_FLAGS:
            one["flags"].append(f"and {len(flags) - MOST_FLAGS} more")
    return one
