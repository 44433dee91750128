"""Which rows are most worth labelling, and what the labels that came gained.

A suggestion is remembered as the numbers of its rows in a version, which doesn't change: nothing of the data is stored
with it. Where a person was erased from the version since, the numbers mean other rows, and nothing is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import parse_reference
from mcp_server.errors import CorruptArtefact, CourtsideError, NotFound
from mcp_server.workflows import label_answers
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find, genuine
from mcp_server.workflows.label_answers import Suggested
from mcp_server.workflows.reply import counted

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, Suggestion
    from mcp_server.storage.transaction import Transaction

MOST_ASKED = 20
MEASURING_SECONDS = 60.0
_HOW = (
    "Chosen by uncertainty (.7) and disagreement (.3), as ranks, of a linear model and a forest, calibrated out of "
    "fold; of the worthiest, five times as many, one for each of as many groups."
)
_SPREAD = "There are too few labels to ask models: the rows are spread over the table, one for each of as many groups."


@dataclass(frozen=True, slots=True)
class ArrivedLabels:
    """What the labels gained that a table brings for rows that were suggested.

    Args:
        gains: by suggestion; empty where none of its rows was suggested.
        unmeasured: the code of the error that kept them from being measured.
    """

    gains: list[tuple[Suggestion, dict[str, Any]]]
    unmeasured: str | None = None

    async def record(self, tx: Transaction, version: str) -> list[str]:
        """Remember it with the suggestions, and say it; `version` has the labels."""
        from mcp_server.storage import suggestions

        said = []
        for one, gain in self.gains:
            await suggestions.record_gain(tx, one.id, gain | {"version": version})
            said.append(label_answers.gained(one, gain, version))
        if self.unmeasured is not None:
            said.append(
                f"What labels of suggested rows gained wasn't measured ({self.unmeasured}); suggest_labels does it."
            )
        return said


async def suggest(app: App, call: CallContext, dataset: str, pool: str | None, *, count: int, seed: int) -> Suggested:
    """Choose the rows in the computing child; remember them, and what the labels of earlier ones gained.

    Raises:
        NotFound: there's no such data set.
        InvalidInput, BadTarget, TrainingRefused: no row is without a label, or nothing can be learned.
        Conflict: a data set changed meanwhile.
    """
    from mcp_server.storage import datasets, suggestions

    record = await find(app, dataset)
    other = None if pool is None else await find(app, pool)
    storage = await app.storage()
    stored = await _stored(app, record)
    given = {"count": count, "seed": seed, "pool": None if other is None else await _stored(app, other)}
    done = await (await app.compute()).run(
        "suggest_labels", stored | given, timeout=call.remaining(), progress=call.report
    )
    labels = await _measured(app, call, record.name, stored, seconds=call.remaining())
    rows = [row["row"] for row in done["rows"]]
    read = [record] if other is None else [record, other]
    async with storage.database.transaction(call) as tx:
        await datasets.require_unchanged(tx, {_reference(one): one.digest for one in read})
        await labels.record(tx, _reference(record))
        await suggestions.add(tx, record, other, count=count, seed=seed, rows=rows, expected=done["expected"])
        earlier = label_answers.earlier(await suggestions.newest(tx, record.name, limit=MOST_ASKED))
        answer = _answer(record, other, done, earlier, count=count)
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(answer.dataset)
    return answer


async def gained_by(app: App, call: CallContext, name: str, table: Path, contract: dict[str, Any]) -> ArrivedLabels:
    """What the labels gained in a table that is about to become a data set's next version.

    It takes a minute at most, and half of the call's time. Where that isn't enough, or it fails in another way, the
    labels are worth storing all the same.
    """
    left = call.remaining()
    seconds = MEASURING_SECONDS if left is None else min(MEASURING_SECONDS, left / 2.0)
    try:
        return await _measured(app, call, name, {"path": str(table), "contract": contract}, seconds=seconds)
    except CourtsideError as refused:
        return ArrivedLabels([], refused.code)


async def _measured(
    app: App, call: CallContext, name: str, table: dict[str, Any], *, seconds: float | None
) -> ArrivedLabels:
    from mcp_server.storage import suggestions

    storage = await app.storage()
    asked = []
    async with storage.database.reading() as tx:
        for one in await suggestions.newest(tx, name, limit=MOST_ASKED):
            records = await _as_they_were(tx, one) if one.open else None
            if records is not None:
                asked.append((one, records))
    if not asked:
        return ArrivedLabels([])
    listed = [
        {
            "id": str(one.id),
            "dataset": await _stored(app, record),
            "pool": None if pool is None else await _stored(app, pool),
            "rows": list(one.rows),
            "known": one.labelled,
        }
        for one, (record, pool) in asked
    ]
    arguments = {**table, "seed": 0, "suggestions": listed}
    done = await (await app.compute()).run("measure_labels", arguments, timeout=seconds, progress=call.report)
    return ArrivedLabels([(one, done["gains"][str(one.id)]) for one, _ in asked if str(one.id) in done["gains"]])


async def _as_they_were(tx: Transaction, one: Suggestion) -> tuple[DatasetVersion, DatasetVersion | None] | None:
    """The versions that a suggestion was made of; None where one was changed, as by an erasure, or is gone."""
    from mcp_server.storage import datasets

    found = []
    for reference, digest in ((one.dataset, one.digest), (one.pool, one.pool_digest)):
        if reference is None:
            continue
        try:
            record = genuine(await datasets.get(tx, *parse_reference(reference)))
        except (NotFound, CorruptArtefact):
            return None
        if record.digest != digest:
            return None
        found.append(record)
    return found[0], found[1] if len(found) > 1 else None


async def _stored(app: App, record: DatasetVersion) -> dict[str, Any]:
    storage = await app.storage()
    return {"path": str(await storage.artefacts.local_path(record.artefact)), "contract": record.contract}


def _answer(
    record: DatasetVersion,
    pool: DatasetVersion | None,
    done: dict[str, Any],
    earlier: list[dict[str, Any]],
    *,
    count: int,
) -> Suggested:
    plain = ("row", "why", "uncertainty", "disagreement", "alike")
    rows = [
        {name: row[name] for name in plain} | {"reason": label_answers.reason(row, done["task"])}
        for row in done["rows"]
    ]
    apart = {
        name: {str(row["row"]): [_shown(value) for value in row[name]] for row in done["rows"] if row[name]}
        for name in ("key", "likeliest")
    }
    how = _SPREAD if done["task"] is None else _HOW
    if done["looked_at"] < done["unlabelled"]:
        how += f" Looked at {done['looked_at']:,} of {counted(done['unlabelled'], 'row')}."
    return Suggested(
        dataset=_reference(record),
        pool=None if pool is None else _reference(pool),
        labelled=done["labelled"],
        unlabelled=done["unlabelled"],
        how=how,
        rows=rows,
        expected=done["expected"],
        expected_gain=label_answers.expectation(done["expected"], done["untold"], labels=done["labelled"], count=count),
        earlier=earlier,
        next=_next(record, pool),
        untrusted={name: part for name, part in apart.items() if part} or None,
    )


def _shown(value: Any) -> Any:
    return label(value) if isinstance(value, str) else value


def _next(record: DatasetVersion, pool: DatasetVersion | None) -> str:
    """How the labels come back; their gain is measured then."""
    keyed = any(column["role"] == "key" for column in record.contract["columns"])
    within = pool is None or pool.name == record.name
    if within and not keyed:
        return f"Label the rows, then import all of {record.name} again; with a key, mode upsert takes rows alone."
    mode = "upsert" if within else "append"
    return (
        f"Label the rows, then import_data with name {record.name}, mode {mode} and these rows, with all columns and "
        "their labels."
    )


def _reference(record: DatasetVersion) -> str:
    return f"{record.name}@{record.version}"
