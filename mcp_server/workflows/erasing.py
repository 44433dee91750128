"""A person's data: what is stored of them, a copy for them, and its erasure."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext
from mcp_server.core.names import check_name
from mcp_server.errors import Conflict, InvalidInput, Transient
from mcp_server.workflows import confirming, reaching, reporting
from mcp_server.workflows.admin_answers import Erased
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import content_digest, genuine

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import DatasetVersion, ModelVersion
    from mcp_server.storage.transaction import Transaction

EXPORTS = "exports"
PAGE = 1_000
READ_OF_MODELS = ("form.json", "golden.json", "estimator.skops")

Value = str | int | float
Format = Literal["json", "csv"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data.

    Args:
        dataset: the one data set that is meant, with all its versions; every one with the column when None.
    """

    column: str
    value: Value
    dataset: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored of a person.

    Args:
        tables: the versions that have rows of theirs; rows: how many each.
        spellings: the value as it stands in the tables and as it was given.
        predictions: ids, and last: of the prediction up to which was looked.
        cleaned: other versions as they are and as they will be: what was fitted on these rows, or quotes the value.
        not_reached: what was made from these rows and hasn't the column, so that nothing tells which rows are theirs.
        versions: every version that there was.
        outside: rows of theirs by version of other data sets than the one that is meant; these stay.
        quoting: reports and schedules that do.
        holding, trained: the models whose files hold something of them, and the others that learned from these rows.
    """

    tables: list[DatasetVersion]
    rows: list[int]
    spellings: list[Any]
    predictions: list[str]
    requests: frozenset[str]
    last: str | None
    answers: int
    holding: list[ModelVersion]
    trained: list[ModelVersion]
    exports: list[Path]
    cleaned: list[tuple[DatasetVersion, DatasetVersion]]
    not_reached: list[str]
    versions: frozenset[str]
    outside: dict[str, int]
    quoting: reaching.Quoting

    @property
    def anything(self) -> bool:
        quoting = self.quoting.reports or self.quoting.schedules
        return bool(self.tables or self.predictions or self.answers or self.exports or self.cleaned or quoting)


async def erase(app: App, call: CallContext, subject: Subject, *, confirm: str | None, export: Format | None) -> Erased:
    """Plan, export or carry out the erasure of a person's data.

    Args:
        confirm: the digest of the plan that is to be carried out; a plan is made when None.
        export: write their rows and predictions into the data folder too; only with a plan.
    Raises:
        NotFound: there is no data set of that name.
        InvalidInput: no data set has the column, or an export was asked for with the erasure.
        Conflict: the digest isn't the present plan's, or a job is working with one of the versions.
    """
    if confirm is not None and export is not None:
        raise InvalidInput("An export belongs to the plan.", hint="Export first, then confirm without export.")
    storage = await app.storage()
    name = subject_name(storage, subject)
    found = await _find(app, call, subject)
    if not found.anything:
        # Also the repeated call after an erasure that was cut short: what it left is finished here.
        return await _finished(app, found, _told(found, status="nothing found"))
    plan = _plan(name, found)
    digest = confirming.plan_digest(plan)
    if confirm is None:
        exported = await _export(app, call, subject, found, export) if export else None
        told = _told(found, status="planned", confirm=digest, exported=exported)
        return told.model_copy(
            update={"next": f"Read it, then erase_subject again with confirm {digest}. It can't be undone."}
        )
    confirming.require(confirm, digest)
    async with _rewritten(app, call, subject, found) as versions:
        await _apply(storage, call, subject, found, versions)
    for model in found.holding:
        (await app.predictors()).evict(model.name, model.version)
    return await _finished(app, found, _told(found, status="erased"))


def subject_name(storage: Storage, subject: Subject) -> str:
    """What stands for the person in the audit log and among the exports: a keyed hash."""
    from mcp_server.core.personal.written import written

    return storage.keys.pseudonym(subject.column, written(subject.value))


def _plan(name: str, found: Found) -> dict[str, Any]:
    return {
        "subject": name,
        "datasets": [[_reference(one), one.digest, rows] for one, rows in zip(found.tables, found.rows, strict=True)],
        "predictions": found.predictions,
        "answers": found.answers,
        "cleaned": [[_reference(old), old.digest] for old, _ in found.cleaned],
        "models": [_reference(one) for one in found.holding],
        "quoting": [found.quoting.reports, found.quoting.schedules],
    }


def _told(found: Found, **facts: Any) -> Erased:
    return Erased(
        datasets=[
            {"dataset": _reference(one), "rows": rows} for one, rows in zip(found.tables, found.rows, strict=True)
        ],
        predictions=len(found.predictions),
        answers=found.answers,
        models_removed=[_reference(one) for one in found.holding],
        models_to_retrain=[_reference(one) for one in found.trained],
        exports=len(found.exports),
        reports=found.quoting.reports,
        schedules=found.quoting.schedules,
        cleaned=[_reference(old) for old, _ in found.cleaned],
        not_reached=found.not_reached,
        outside=[{"dataset": reference, "rows": rows} for reference, rows in found.outside.items()],
        **facts,
    )


async def _find(app: App, call: CallContext, subject: Subject) -> Found:
    from mcp_server.storage import datasets, erasure, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        every = await datasets.every(tx)
        meant = [one for one in every if subject.dataset is None or one.name == subject.dataset]
        if subject.dataset is not None and not meant:
            # Says that there is none, or how its name is written.
            meant = await datasets.every(tx, (await datasets.get(tx, check_name(subject.dataset))).name)
        having = [genuine(one) for one in meant if _has(one, subject.column)]
        chosen = {_reference(one) for one in meant}
        others = [genuine(one) for one in every if _reference(one) not in chosen and _has(one, subject.column)]
        learned = await models.trained_on(tx, [_reference(one) for one in having])
    if meant and not having:
        raise InvalidInput(
            "No data set has a column of that name.", hint="describe_data lists the columns of each data set."
        )
    seen = await _look(app, call, subject, having, learned)
    rows = {table["reference"]: table["rows"] for table in seen["tables"]}
    outside = (await _look(app, call, subject, others, []))["tables"] if others else []
    spellings = [subject.value, *seen["spellings"]]
    holding = set(seen["models"]) | {_reference(one) for one in learned if _quotes(one, spellings)}
    of_models = None if subject.dataset is None else {model.name for model in learned}
    async with storage.database.reading() as tx:
        ids, requests, last = await _predictions(tx, subject, spellings, of_models, after=None)
        answers = await _answers(tx, spellings, requests)
        quoting = await reaching.quoting(tx, erasure.words_of(spellings))
    made = reaching.made_of(every, rows)
    doubtful = {_reference(one): one for one in [*meant, *made] if _reference(one) not in rows}
    note = _note(app, storage, subject, rows=0)
    cleaned = []
    for reference, one in doubtful.items():
        fitted = any(reference == _reference(child) for child in made)
        new = reaching.cleaned(one, subject.column, spellings, {**note, "digest_before": one.digest}, unfitted=fitted)
        if new != one:
            cleaned.append((genuine(one), new))
    own = _export_folder(app, subject_name(storage, subject))
    return Found(
        tables=[one for one in having if _reference(one) in rows],
        rows=[rows[_reference(one)] for one in having if _reference(one) in rows],
        spellings=spellings,
        predictions=ids,
        requests=requests,
        last=last,
        answers=answers,
        holding=[one for one in learned if _reference(one) in holding],
        trained=[one for one in learned if one.dataset in rows and _reference(one) not in holding],
        exports=await asyncio.to_thread(reaching.exports_of, own.parent, own, subject.column, spellings),
        cleaned=cleaned,
        not_reached=[
            f"{_reference(one)}, made from {' and '.join(one.parents)}" for one in made if not _has(one, subject.column)
        ],
        versions=frozenset(map(_reference, every)),
        outside={table["reference"]: table["rows"] for table in outside},
        quoting=quoting,
    )


async def _look(
    app: App, call: CallContext, subject: Subject, tables: list[DatasetVersion], learned: list[ModelVersion]
) -> dict[str, Any]:
    return await (await app.compute()).run(
        "find_subject",
        {
            "column": subject.column,
            "value": subject.value,
            "tables": [await _table(await app.storage(), one) for one in tables],
            "models": [await _files(await app.storage(), one) for one in learned],
        },
        timeout=call.remaining(),
        progress=call.report,
    )


def _quotes(model: ModelVersion, spellings: list[Any]) -> bool:
    """Whether the model's signed manifest, which can't be changed, quotes the value, as in its test's expression."""
    from mcp_server.storage import erasure

    return bool(erasure.without(model.manifest, erasure.words_of(spellings)) != model.manifest)


def _has(version: DatasetVersion, column: str) -> bool:
    return any(one["name"] == column for one in version.contract["columns"])


async def _table(storage: Storage, version: DatasetVersion) -> dict[str, Any]:
    path = await storage.artefacts.local_path(version.artefact)
    return {"reference": _reference(version), "path": str(path), "contract": version.contract}


async def _files(storage: Storage, model: ModelVersion) -> dict[str, Any]:
    files = model.manifest.get("files", {})
    paths = {name: str(await storage.artefacts.local_path(files[name])) for name in READ_OF_MODELS if name in files}
    return {"reference": _reference(model), "dataset": model.dataset, "paths": paths}


async def _predictions(
    tx: Transaction, subject: Subject, spellings: list[Any], of_models: set[str] | None, *, after: str | None
) -> tuple[list[str], frozenset[str], str | None]:
    """The person's predictions: their ids, their requests, and the id of the last one that was looked at."""
    from mcp_server.core.personal.written import written
    from mcp_server.storage import erasure, predictions

    stored = erasure.stored_forms(tx.keys, subject.column, [*spellings, *_numbers(subject.value)])
    wanted = written(subject.value)
    ids, requests, last = [], set(), after
    while True:
        found, end = await predictions.having(tx, stored, after=last, limit=PAGE)
        for one in found:
            cell = one.features.get(subject.column)
            named = cell is not None and (json.dumps(cell) in stored or written(cell) == wanted)
            if named and (of_models is None or one.model in of_models):
                ids.append(one.id)
                requests.add(one.request_id)
        if end is None:
            return ids, frozenset(requests), last
        last = end


def _numbers(value: Value) -> list[Any]:
    """A value as the numbers that a caller may have sent for it."""
    try:
        number = float(value)
    except ValueError:
        return []
    return [number, int(number), str(value)] if number.is_integer() else [number, str(value)]


async def _answers(tx: Transaction, spellings: list[Any], requests: frozenset[str]) -> int:
    from mcp_server.storage import erasure, idempotency

    words = erasure.words_of(spellings)
    return len(await idempotency.holding(tx, lambda content: erasure.holds(content, words), requests=requests))


async def _export(app: App, call: CallContext, subject: Subject, found: Found, format: Format) -> str:
    """Write the rows, and the predictions with their hashed personal columns; the folder's path in the data folder."""
    import orjson

    from mcp_server.storage import predictions

    storage = await app.storage()
    folder = _export_folder(app, subject_name(storage, subject))
    async with app.scratch() as scratch:
        await (await app.compute()).run(
            "export_subject",
            {
                "column": subject.column,
                "value": subject.value,
                "format": format,
                "tables": [await _table(storage, one) for one in found.tables],
                "out": str(scratch / f"rows.{format}"),
            },
            timeout=call.remaining(),
            progress=call.report,
        )
        told = []
        async with storage.database.reading() as tx:
            for id in found.predictions:
                one = await predictions.get(tx, id)
                told.append(
                    {
                        "id": one.id,
                        "at": one.at.isoformat(),
                        "model": f"{one.model}@{one.version}",
                        "value": one.value,
                        "probability": one.probability,
                        "features": one.features,
                    }
                )
        if told:
            (scratch / "predictions.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        await asyncio.to_thread(_publish, scratch, folder)
    async with storage.database.transaction(call) as tx:
        tx.about(f"subject:{folder.name}", exported=len(found.tables), predictions=len(told))
    return folder.relative_to(app.settings.data_dir).as_posix()


@asynccontextmanager
async def _rewritten(
    app: App, call: CallContext, subject: Subject, found: Found
) -> AsyncIterator[list[DatasetVersion]]:
    """The versions as they will be; their tables are stored already, and nothing refers to them yet."""
    storage = await app.storage()
    compute = await app.compute()
    versions = []
    for old, rows in zip(found.tables, found.rows, strict=True):
        async with app.scratch() as scratch:
            table = await _table(storage, old)
            kept = await compute.run(
                "without_subject",
                {
                    "path": table["path"],
                    "contract": old.contract,
                    "column": subject.column,
                    "value": subject.value,
                    "out": str(scratch / "table.parquet"),
                },
                timeout=call.remaining(),
                progress=call.report,
            )
            artefact = await storage.artefacts.put_file(scratch / "table.parquet")
        versions.append(_without(app, storage, subject, found, old, rows, kept, artefact))
    yield versions


def _without(
    app: App,
    storage: Storage,
    subject: Subject,
    found: Found,
    old: DatasetVersion,
    rows: int,
    kept: dict[str, Any],
    artefact: str,
) -> DatasetVersion:
    note = {**_note(app, storage, subject, rows=rows), "digest_before": old.digest}
    contract = reaching.clean_contract(kept["contract"], subject.column, found.spellings)
    told = reaching.clean_source(old, found.spellings, unfitted=True)
    source = {**told, "erased": [*old.source.get("erased", []), note]}
    return replace(
        old,
        digest=content_digest(artefact, contract, source),
        artefact=artefact,
        rows=kept["rows"],
        contract=contract,
        profile=kept["profile"],
        source=source,
    )


def _note(app: App, storage: Storage, subject: Subject, *, rows: int) -> dict[str, Any]:
    return {
        "at": app.clock.now().isoformat(timespec="seconds"),
        "rows": rows,
        "subject": subject_name(storage, subject),
    }


async def _apply(
    storage: Storage, call: CallContext, subject: Subject, found: Found, versions: list[DatasetVersion]
) -> None:
    """Everything in one transaction with its audit row; files go after it."""
    from mcp_server.storage import datasets, erasure, idempotency, models, predictions, removal

    words = erasure.words_of(found.spellings)
    changed = [*zip(found.tables, versions, strict=True), *found.cleaned]
    references = [_reference(old) for old, _ in changed]
    async with storage.database.transaction(call) as tx:
        await confirming.refuse_running(tx, datasets=references, models={model.name for model in found.holding})
        await removal.hold(tx, [one.artefact for one in versions])
        if {_reference(one) for one in await datasets.every(tx)} - found.versions:
            raise Conflict(
                "A version was stored meanwhile, which may be of the same rows; nothing was erased.",
                hint="Ask for a new plan.",
            )
        for old, new in changed:
            await datasets.replace(tx, new, expected=old.digest)
        # Predictions that were made since the plan.
        of_models = None
        if subject.dataset is not None:
            of_models = {model.name for model in [*found.holding, *found.trained]}
        later, requests, _ = await _predictions(tx, subject, found.spellings, of_models, after=found.last)
        ids = sorted({*found.predictions, *later})
        removed = await predictions.remove(tx, ids)
        loose = await idempotency.purge(
            tx, lambda content: erasure.holds(content, words), requests=found.requests | requests
        )
        for model in found.holding:
            await models.remove(tx, model)
            loose += model.manifest["files"].values()
        await erasure.scrub(tx, words)
        loose += await reaching.forget(tx, words)
        loose += [old.source["fitted"] for old, new in changed if "fitted" in old.source and "fitted" not in new.source]
        await removal.note(tx, [*loose, *(old.artefact for old in found.tables)])
        tx.about(
            f"subject:{subject_name(storage, subject)}",
            datasets=references[:50],
            rows=sum(found.rows),
            predictions=removed,
            models_removed=[_reference(model) for model in found.holding][:50],
        )


async def _finished(app: App, found: Found, answer: Erased) -> Erased:
    """After the commit: files away, the log emptied, and a look at the bytes that are left."""
    from mcp_server.storage import erasure, removal

    storage = await app.storage()
    for path in found.exports:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    await reporting.sweep(app)
    await removal.finish(storage.database, storage.artefacts)
    emptied = await _empty_logs(app, storage) if storage.database.is_sqlite else None
    left = await asyncio.to_thread(erasure.copies, app.settings.data_dir, erasure.words_of(found.spellings))
    later = "Call erase_subject again in a minute: it finishes what was in use, and says what is left then."
    again = f"train_model again in place of {answer.models_to_retrain[0]}." if answer.models_to_retrain else None
    return answer.model_copy(
        update={
            "log_emptied": emptied,
            "copies_left": left,
            "next": later if left else again,
        }
    )


async def _empty_logs(app: App, storage: Storage) -> bool:
    """Whether neither database keeps deleted rows any more: the main one, and that of the steps of jobs."""
    from mcp_server.jobs.places import Places
    from mcp_server.storage import sqlite_file

    emptied = await storage.database.forget_deleted()
    steps = Places(app.settings.data_dir).steps
    if await asyncio.to_thread(steps.exists):
        try:
            # The library that writes it doesn't overwrite what it deletes.
            emptied &= await asyncio.to_thread(sqlite_file.truncate_log, steps, vacuum=True)
        except Transient:
            return False  # a worker is busy with it; the search for copies tells what that leaves
    return emptied


def _export_folder(app: App, name: str) -> Path:
    return app.settings.data_dir / EXPORTS / name.partition(":")[2]


def _publish(scratch: Path, folder: Path) -> None:
    from mcp_server.storage.private_files import make_folder

    make_folder(folder)
    for path in reaching.files_in(scratch):
        path.chmod(0o600)
        os.replace(path, folder / path.name)


def _reference(version: DatasetVersion | ModelVersion) -> str:
    return f"{version.name}@{version.version}"
