"""Deleting a data set version, a model version, a run or a report, with what depends on it named first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext
from mcp_server.core.names import parse_reference
from mcp_server.errors import Conflict, InvalidInput
from mcp_server.workflows import confirming, reporting
from mcp_server.workflows.admin_answers import Deleted
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import counted

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, ModelVersion, Run
    from mcp_server.storage.transaction import Transaction

Kind = Literal["dataset", "model", "run", "report"]
MOST_ITEMS = 1_000
MIB = 2**20


@dataclass(slots=True)
class Doomed:
    """What a deletion takes: what was asked for, and what depends on that. Runs on a data set stay: they are history.

    Args:
        predictions: how many stored predictions the models have made; they stay.
    """

    datasets: list[DatasetVersion] = field(default_factory=list)
    models: list[ModelVersion] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    predictions: int = 0

    def listed(self) -> list[str]:
        """What was asked for, then the rest."""
        return [
            *(f"run {one.id}" for one in self.runs),
            *(f"report {id}" for id in self.reports),
            *(f"data set {_reference(one)}" for one in self.datasets),
            *(f"model {_reference(one)}" for one in self.models),
        ]


async def delete(app: App, call: CallContext, kind: Kind, item: str, *, cascade: bool, confirm: str | None) -> Deleted:
    """Plan a deletion, or carry out the plan whose digest is repeated.

    Args:
        item: `name@version`, or a run's id.
        cascade: also what depends on it: versions made from it, models trained on it or made by the run.
        confirm: the plan's digest; a plan is made when None.
    Raises:
        NotFound: there is no such version or run.
        InvalidInput: a name without a version.
        Conflict: something depends on it and cascade isn't set, a job is working with it, or the plan is another now.
    """
    from mcp_server.storage import removal

    storage = await app.storage()
    if confirm is None:
        async with storage.database.reading() as tx:
            doomed = await _doomed(tx, kind, item)
        return _planned(doomed, item, cascade)
    async with storage.database.transaction(call) as tx:
        doomed = await _doomed(tx, kind, item)
        confirming.require(confirm, _digest(doomed, cascade))
        if not cascade and len(doomed.listed()) > 1:
            raise Conflict(
                f"{counted(len(doomed.listed()) - 1, 'item')} depend on it; nothing was deleted.",
                hint="Delete those first, or plan again with cascade.",
            )
        await confirming.refuse_running(
            tx,
            datasets=[_reference(one) for one in doomed.datasets],
            models={one.name for one in doomed.models} | {one.model for one in doomed.runs if one.status == "running"},
        )
        await _remove(tx, doomed)
        tx.about(f"{kind}:{item}", deleted=doomed.listed()[:50], count=len(doomed.listed()))
    for model in doomed.models:
        (await app.predictors()).evict(model.name, model.version)
    await reporting.sweep(app)
    before = sum((await storage.artefacts.listed()).values())
    files = await removal.finish(storage.database, storage.artefacts)
    files += await removal.collect(storage.database, storage.artefacts)
    freed = before - sum((await storage.artefacts.listed()).values())
    return Deleted(
        status="deleted",
        deletes=doomed.listed(),
        keeps=_keeps(doomed),
        files=files,
        freed_mib=round(max(0, freed) / MIB, 2),
    )


def _planned(doomed: Doomed, item: str, cascade: bool) -> Deleted:
    listed = doomed.listed()
    rest = listed[1:]
    if rest and not cascade:
        return Deleted(
            status="planned",
            deletes=listed[:1],
            blocked_by=rest,
            keeps=_keeps(doomed),
            next=f"Delete those first, or delete_item {item} with cascade to plan all of it.",
        )
    digest = _digest(doomed, cascade)
    return Deleted(
        status="planned",
        confirm=digest,
        deletes=listed,
        keeps=_keeps(doomed),
        next=f"Read it, then call delete_item again with confirm {digest}. It can't be undone.",
    )


def _keeps(doomed: Doomed) -> list[str]:
    if not doomed.predictions:
        return []
    return [f"Stored predictions that stay in the log, with version and digest of the model: {doomed.predictions:,}."]


def _digest(doomed: Doomed, cascade: bool) -> str:
    versions = [[_reference(one), one.digest] for one in doomed.datasets]
    versions += [[_reference(one), one.digest] for one in doomed.models]
    return confirming.plan_digest(
        {"versions": versions, "runs": [one.id for one in doomed.runs], "reports": doomed.reports, "cascade": cascade}
    )


async def _doomed(tx: Transaction, kind: Kind, item: str) -> Doomed:
    from mcp_server.storage import datasets, models, predictions, reports, runs

    doomed = Doomed()
    if kind == "report":
        doomed.reports.append((await reports.get(tx, item)).id)
        return doomed
    if kind == "run":
        run = await runs.get(tx, item)
        doomed.runs.append(run)
        doomed.models += [await models.get(tx, *parse_reference(one)) for one in await models.of_run(tx, run.id)]
    else:
        name, version = parse_reference(item)
        if version is None:
            raise InvalidInput("Say which version is meant.", hint=f"Write {name}@1 for the first one.")
        if kind == "model":
            doomed.models.append(await models.get(tx, name, version))
        else:
            await _with_children(tx, doomed, await datasets.get(tx, name, version))
            doomed.models += await models.trained_on(tx, [_reference(one) for one in doomed.datasets])
    for model in doomed.models:
        doomed.predictions += await predictions.count(tx, model=model.name, version=model.version)
    return doomed


async def _with_children(tx: Transaction, doomed: Doomed, record: DatasetVersion) -> None:
    """The version and, breadth first, every version that was made from it."""
    from mcp_server.storage import datasets

    doomed.datasets.append(record)
    for one in doomed.datasets:  # grows meanwhile
        for child in await datasets.children(tx, _reference(one)):
            if child not in {_reference(known) for known in doomed.datasets}:
                doomed.datasets.append(await datasets.get(tx, *parse_reference(child)))
        if len(doomed.datasets) > MOST_ITEMS:
            raise Conflict(
                f"More than {MOST_ITEMS:,} versions depend on it.", hint="Delete the newest of them first, bit by bit."
            )


async def _remove(tx: Transaction, doomed: Doomed) -> None:
    from mcp_server.storage import datasets, models, removal, reports, runs

    loose: list[Any] = [one.artefact for one in doomed.datasets]
    loose += [one.source["fitted"] for one in doomed.datasets if "fitted" in one.source]
    for model in doomed.models:
        loose += [model.artefact, *model.manifest.get("files", {}).values()]
        await models.remove(tx, model)
    for version in doomed.datasets:
        await datasets.remove(tx, version)
    for run in doomed.runs:
        await runs.remove(tx, run.id)
    loose += await reports.remove(tx, doomed.reports)
    await removal.note(tx, loose)


def _reference(version: DatasetVersion | ModelVersion) -> str:
    return f"{version.name}@{version.version}"
