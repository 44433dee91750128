"""From a data set version and a plan to a new version that remembers both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import check_name
from mcp_server.core.preparing.plan import AnyStep, Join, Restore, at_step, explained, read_plan, to_json
from mcp_server.errors import CourtsideError, PlanRefused
from mcp_server.storage.records import DatasetVersion
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import Compatibility, against_newest, against_previous, not_newest
from mcp_server.workflows.data_answers import Prepared
from mcp_server.workflows.describing import content_digest, find
from mcp_server.workflows.importing import CELLS_PER_MIB

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

MOST_SHOWN_NAMES = 40
MOST_JOINED = 5


@dataclass(frozen=True, slots=True)
class PreparingRequest:
    """What prepare_data was asked."""

    dataset: str
    steps: list[dict[str, Any]]
    name: str | None
    seed: int
    dry_run: bool


async def prepare(app: App, call: CallContext, request: PreparingRequest) -> Prepared:
    """Carry the plan out in the computing child; store the table, what was fitted, and the record.

    Raises:
        PlanRefused: a step isn't well formed or can't be done; nothing is stored.
        NotFound: a data set isn't there.
        Conflict: one that was read changed, or was deleted, before the version was stored.
    """
    plan = read_plan(request.steps)
    record = await find(app, request.dataset)
    reference = f"{record.name}@{record.version}"
    if not plan:
        return _empty(reference, record, dry_run=request.dry_run)
    if isinstance(plan[0], Restore):
        return await _restored(app, call, request, record)
    name = check_name(request.name) if request.name is not None else record.name
    pinned, others = await _pinned(app, plan)
    storage = await app.storage()
    async with app.scratch() as folder:
        table, fitted = folder / "table.parquet", folder / "fitted.json"
        arguments: dict[str, Any] = {
            **await _stored(app, record),
            "steps": pinned,
            "others": {other: await _stored(app, found) for other, found in others.items()},
            "seed": request.seed,
            "checking_seed": storage.keys.checking_seed(record.artefact),
            "out": None if request.dry_run else str(table),
            "fitted_out": None if request.dry_run else str(fitted),
            "max_rows": app.settings.max_rows,
            "max_columns": app.settings.max_columns,
            "max_cells": CELLS_PER_MIB * app.settings.child_memory_mib,
        }
        done = await (await app.compute()).run(
            "prepare_table", arguments, timeout=call.remaining(), progress=call.report
        )
        if request.dry_run:
            async with storage.database.reading() as tx:
                compared = await against_newest(tx, name, done["contract"])
            return _as_it_would_be(done, f"{reference} as it would be", compared)
        artefact = await storage.artefacts.put_file(table)
        fitted_artefact = await storage.artefacts.put_file(fitted) if done["fitted"] else None
    inputs = [{"dataset": reference, "digest": record.digest}]
    inputs += [{"dataset": other, "digest": found.digest} for other, found in others.items()]
    source = _source(pinned, inputs, request.seed, fitted_artefact)
    return await _record(app, call, name, reference, source, done, artefact)


async def _restored(app: App, call: CallContext, request: PreparingRequest, record: DatasetVersion) -> Prepared:
    """The version's table and contract as the newest version of its name; nothing is copied but the record.

    Raises:
        PlanRefused: under another name it would be a copy.
        Conflict: the version changed, or was deleted, before it was restored.
    """
    from mcp_server.storage import datasets, removal

    if request.name not in (None, record.name):
        raise PlanRefused(
            "A version is restored under its own name.",
            hint=f"Leave name out, or write {record.name}.",
            details={"step": 1, "do": "restore", "field": "name"},
        )
    reference = f"{record.name}@{record.version}"
    storage = await app.storage()
    if request.dry_run:
        async with storage.database.reading() as tx:
            done, needed = _put_back(record, await datasets.get(tx, record.name))
            compared = await against_newest(tx, record.name, record.contract) if needed else Compatibility()
        return _as_it_would_be(done, f"{reference} restored, as it would be", compared)
    async with storage.database.transaction(call) as tx:
        newest = await datasets.get(tx, record.name)
        done, needed = _put_back(record, newest)
        if not needed:
            return await _told(tx, done, newest)
        await removal.hold(tx, [record.artefact])
        await datasets.require_unchanged(tx, {reference: record.digest})
        source = {
            "kind": "restored",
            "inputs": [{"dataset": reference, "digest": record.digest}],
            # So that it's newer than what it follows, and not the version that it restores.
            "follows": newest.digest,
            **({"fitted": record.source["fitted"]} if "fitted" in record.source else {}),
        }
        version = await datasets.add_version(
            tx,
            name=record.name,
            digest=content_digest(record.artefact, record.contract, source),
            artefact=record.artefact,
            rows=record.rows,
            columns=record.columns,
            contract=record.contract,
            profile=record.profile,
            source=source,
            parent=reference,
            created_by=call.caller.id,
        )
        return await _told(tx, done, version)


def _put_back(record: DatasetVersion, newest: DatasetVersion) -> tuple[dict[str, Any], bool]:
    """What a restoration does, told as a plan's one step, and whether there's anything to do."""
    needed = (newest.artefact, newest.contract) != (record.artefact, record.contract)
    old, new = f"{record.name}@{record.version}", f"{newest.name}@{newest.version}"
    step = {
        "do": "restore",
        "rows_before": newest.rows,
        "rows_after": record.rows,
        "columns_before": newest.columns,
        "columns_after": record.columns,
        "said": f"{old} in place of {new}, which stays." if needed else f"{new} is the newest and holds that already.",
        "shown": {},
        "added": [],
    }
    return {"rows": record.rows, "columns": record.columns, "steps": [step]}, needed


async def _pinned(app: App, plan: list[AnyStep]) -> tuple[list[dict[str, Any]], dict[str, DatasetVersion]]:
    """The plan with the versions that its joins meant written out, and the records of these."""
    others: dict[str, DatasetVersion] = {}
    steps = to_json(plan)
    for number, (step, written) in enumerate(zip(plan, steps, strict=True), start=1):
        if not isinstance(step, Join):
            continue
        try:
            found = await find(app, step.other)
        except CourtsideError as refused:
            raise at_step(number, step.do, refused) from None
        written["with"] = f"{found.name}@{found.version}"
        others[written["with"]] = found
        if len(others) > MOST_JOINED:
            raise PlanRefused(
                f"The plan joins more than {MOST_JOINED} data sets.",
                hint="Prepare in two goes.",
                details={"step": number},
            )
    return steps, others


async def _stored(app: App, record: DatasetVersion) -> dict[str, Any]:
    storage = await app.storage()
    return {"path": str(await storage.artefacts.local_path(record.artefact)), "contract": record.contract}


def _source(steps: list[dict[str, Any]], inputs: list[dict[str, str]], seed: int, fitted: str | None) -> dict[str, Any]:
    from mcp_server.core.canonical import digest

    source: dict[str, Any] = {
        "kind": "prepared",
        "plan": steps,
        "plan_digest": digest({"steps": steps, "seed": seed}),
        "inputs": inputs,
        "seed": seed,
    }
    return source if fitted is None else {**source, "fitted": fitted}


async def _record(
    app: App,
    call: CallContext,
    name: str,
    parent: str,
    source: dict[str, Any],
    done: dict[str, Any],
    artefact: str,
) -> Prepared:
    from mcp_server.core.canonical import digest
    from mcp_server.storage import datasets, removal

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await removal.hold(tx, [artefact, *([source["fitted"]] if "fitted" in source else [])])
        await datasets.require_unchanged(tx, {one["dataset"]: one["digest"] for one in source["inputs"]})
        version = await datasets.add_version(
            tx,
            name=name,
            digest=digest({"table": artefact, "contract": done["contract"]}),
            artefact=artefact,
            rows=done["rows"],
            columns=done["columns"],
            contract=done["contract"],
            profile=done["profile"],
            source=source,
            parent=parent,
            created_by=call.caller.id,
        )
        return await _told(tx, done, version)


async def _told(tx: Transaction, done: dict[str, Any], version: DatasetVersion) -> Prepared:
    """The answer that says which version there is now, kept with the transaction that stores it."""
    reference = f"{version.name}@{version.version}"
    compared = await against_previous(tx, version)
    existing = version.created_at != tx.now
    answer = _answer(
        done,
        reference,
        f"validate_data with dataset {reference}.",
        apart=compared.apart,
        notes=[*(await not_newest(tx, version) if existing else []), *compared.notes],
        digest=version.digest,
        existing=existing,
    )
    tx.answer(answer.model_dump(mode="json", exclude_none=True))
    tx.about(reference)
    return answer


def _as_it_would_be(done: dict[str, Any], dataset: str, compared: Compatibility) -> Prepared:
    return _answer(
        done, dataset, "The same call without dry_run stores it.", apart=compared.apart, notes=compared.notes
    )


def _answer(
    done: dict[str, Any], dataset: str, following: str, *, apart: dict[str, Any] | None = None, **rest: Any
) -> Prepared:
    steps = [
        {
            "do": step["do"],
            "rows": [step["rows_before"], step["rows_after"]],
            "columns": [step["columns_before"], step["columns_after"]],
            "said": step["said"],
        }
        for step in done["steps"]
    ]
    shown = {str(number): _short(step["shown"]) for number, step in enumerate(done["steps"], start=1) if step["shown"]}
    added = {str(number): _short(step["added"]) for number, step in enumerate(done["steps"], start=1) if step["added"]}
    return Prepared(
        dataset=dataset,
        rows=done["rows"],
        columns=done["columns"],
        steps=steps,
        next=following,
        untrusted={**({"fitted": shown} if shown else {}), **({"added": added} if added else {}), **(apart or {})}
        or None,
        **rest,
    )


def _short(value: Any) -> Any:
    """Names and values from data, cleaned and bounded."""
    if isinstance(value, str):
        return label(value)
    if isinstance(value, dict):
        return {label(str(name)): _short(part) for name, part in list(value.items())[:MOST_SHOWN_NAMES]}
    if isinstance(value, list):
        return [_short(part) for part in value[:MOST_SHOWN_NAMES]]
    return value


def _empty(reference: str, record: DatasetVersion, *, dry_run: bool) -> Prepared:
    if not dry_run:
        raise PlanRefused(
            "The plan has no step.", hint="The same call with dry_run explains every step; runbook://plan-refused too."
        )
    return Prepared(
        dataset=reference,
        rows=record.rows,
        columns=record.columns,
        steps=[],
        notes=explained(),
        next="prepare_data with steps and dry_run.",
    )
