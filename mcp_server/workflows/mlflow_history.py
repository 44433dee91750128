"""The history and an MLflow server: its runs and registered models come here, ours go there, new ones at once."""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_server import __version__, log
from mcp_server.context import CallContext, Caller
from mcp_server.core.names import foreign_name
from mcp_server.errors import (
    BadConfiguration,
    Conflict,
    CorruptArtefact,
    CourtsideError,
    DataRejected,
    NotFound,
    StorageFailed,
    Transient,
    Unverified,
)
from mcp_server.settings import Settings
from mcp_server.workflows import mlflow_models
from mcp_server.workflows.app import App, own_app
from mcp_server.workflows.model_answers import Registered
from mcp_server.workflows.reply import token

if TYPE_CHECKING:
    from mcp_server.integrations.mlflow import Experiment, ForeignVersion, Mlflow
    from mcp_server.integrations.mlflow_runs import ForeignRun
    from mcp_server.storage import Storage
    from mcp_server.storage.records import Page, Run
    from mcp_server.storage.transaction import Transaction

PART = 100
MOST_TOLD = 50
MIRROR_SECONDS = 60.0
CLOSE_SECONDS = 5.0
PREFIX = "courtside/"
Item = TypeVar("Item")
MOST_REFUSED, MOST_SILENT = 50, 3
"""In a row: then the server takes nothing, or is gone."""


@dataclass
class Transfer:
    """What an import or an export did.

    Args:
        written: runs that are new where they went; known: those that were there; unfinished: those that aren't over.
        versions, versions_known: of models that were exported, likewise; unverified: those that were left out for it.
        told: a line for each model file and each refusal; names in it are cut and cleaned.
        refused: how many files, runs and versions were.
    """

    written: int = 0
    known: int = 0
    unfinished: int = 0
    versions: int = 0
    versions_known: int = 0
    unverified: int = 0
    refused: int = 0
    told: list[str] = field(default_factory=list)

    def refuse(self, line: str) -> None:
        self.refused += 1
        self.tell(f"refused  {line}")

    def tell(self, line: str) -> None:
        if len(self.told) < MOST_TOLD:
            self.told.append(line)


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[Mlflow]:
    """A connection to the server that the settings name.

    Raises:
        BadConfiguration: they name none.
    """
    from mcp_server.integrations.mlflow import connected

    if settings.mlflow_url is None:
        raise BadConfiguration("No MLflow server is set.", hint="Set COURTSIDE_MLFLOW_URL=http://localhost:5000.")
    key, user, password = (
        None if secret is None else secret.get_secret_value()
        for secret in (settings.mlflow_key, settings.mlflow_user, settings.mlflow_password)
    )
    basic = (user, password) if user and password else None
    # The name of the user stays readable: it can be a plain word that stands elsewhere in the log.
    for secret in (key, password, None if basic is None else b64encode(":".join(basic).encode()).decode()):
        if secret:
            log.register_secret(secret)
    async with connected(settings.mlflow_url, key, basic) as found:
        yield found


# From there --------------------------------------------------------------------------------------------------------


async def import_here(settings: Settings, experiments: list[str]) -> Transfer:
    """Bring runs, and what their registered models' files are; a file is looked into before its run is recorded.

    Args:
        experiments: their names; all of them where none is named.
    Raises:
        BadConfiguration, Transient, DataRejected, NotFound: the server can't be asked, or has no such experiment. What
            was recorded until then stays, and a further import goes on from there.
    """
    async with server(settings) as there, own_app(settings) as app:
        return await _Import(app, there).all(experiments)


async def adopt_here(settings: Settings, wanted: mlflow_models.Wanted) -> Registered:
    """Make a version of one that is registered there, as `register_model` does of a file; see `adopted`."""
    async with server(settings) as there, own_app(settings) as app:
        return await mlflow_models.adopted(app, _call(app), there, wanted)


def _call(app: App) -> CallContext:
    caller = Caller("local", frozenset())
    return CallContext(caller, request_id=secrets.token_hex(8), tool="cli:mlflow", clock=app.clock)


class _Import:
    def __init__(self, app: App, there: Mlflow) -> None:
        self._app = app
        self._there = there
        self._call = _call(app)
        self._done = Transfer()
        self._seen: set[str] = set()

    async def all(self, wanted: list[str]) -> Transfer:
        listed = await self._there.experiments()
        if missing := set(wanted) - {one.name for one in listed}:
            raise NotFound(
                f"MLflow has no experiment {sorted(missing)[0][:64]!r}.", hint="Its page lists the experiments."
            )
        versions: dict[str, list[ForeignVersion]] = {}
        async for version in self._there.versions():
            if version.run is None and not wanted:
                self._done.refuse(f"{version.name}/{version.version}: no run made it")
            elif version.run is not None:
                versions.setdefault(version.run, []).append(version)
        for experiment in listed:
            if not wanted or experiment.name in wanted:
                await self._experiment(experiment, versions)
        return self._done

    async def _experiment(self, experiment: Experiment, versions: dict[str, list[ForeignVersion]]) -> None:
        part: list[Run] = []
        async for run in self._there.runs(experiment.id):
            if run.status is None or run.started_at is None:
                self._done.unfinished += 1
                continue
            made = versions.get(run.id, [])
            if await self._is_ours(run, made):
                self._done.known += 1
                continue
            record = as_record(run, experiment, made)
            if record.id in self._seen:
                continue  # a list that changes meanwhile can tell a run twice
            self._seen.add(record.id)
            there = await self._recorded(record.id)
            known = () if there is None else (there.facts or {}).get("registered", ())
            named = {one["model"] for one in known}
            fresh = [version for version in made if f"{version.name}/{version.version}" not in named]
            verified = [
                one
                for version in fresh
                for one in await mlflow_models.looked_into(self._app, self._call, self._there, version, self._done)
            ]
            if there is not None:
                self._done.known += 1
                if verified:
                    await self._note(there, [*known, *verified])
                continue
            if verified:
                record = replace(record, facts={**(record.facts or {}), "registered": verified})
            part.append(record)
            if len(part) == PART:
                await self._record(part)
                part = []
        await self._record(part)

    async def _is_ours(self, run: ForeignRun, made: list[ForeignVersion]) -> bool:
        """Whether we wrote a run; nothing that's said of it there is taken into our own record of it."""
        from mcp_server.integrations.mlflow import same_seal

        keys = (await self._app.storage()).keys
        if run.ours is None or not same_seal(run.seal, mlflow_models.seal_of(keys, run.ours, f"run {run.id}")):
            return False
        for version in made:
            if not mlflow_models.is_ours(keys, version):
                self._done.tell(f"left out  {version.name}/{version.version}: others registered it on a run of ours")
        return True

    async def _recorded(self, id: str) -> Run | None:
        """What is here of a run already, from an earlier import."""
        from mcp_server.storage import runs

        async with (await self._app.storage()).database.reading() as tx:
            with suppress(NotFound):
                return await runs.get(tx, id)
        return None

    async def _note(self, there: Run, registered: list[dict[str, Any]]) -> None:
        from mcp_server.storage import runs

        async with (await self._app.storage()).database.transaction(self._call) as tx:
            await runs.note_fact(tx, there.id, "registered", registered)
            tx.about("mlflow:import", runs=0)

    async def _record(self, part: list[Run]) -> None:
        from mcp_server.storage import runs

        if not part:
            return
        async with (await self._app.storage()).database.transaction(self._call) as tx:
            for record in part:
                await runs.add(tx, record)
            tx.about("mlflow:import", runs=len(part))
        self._done.written += len(part)


def as_record(run: ForeignRun, experiment: Experiment, versions: list[ForeignVersion]) -> Run:
    """The record of a run from there: its id is always the same, and its texts stay where texts from outside stand.

    Its metrics are `reported`, not `test`: which rows they were measured on isn't known.
    """
    from mcp_server.storage.ids import derived_id
    from mcp_server.storage.records import Run

    assert run.started_at is not None
    assert run.status is not None
    name = versions[0].name if versions else experiment.name
    plain = {key: value for key, value in run.metrics.items() if token(key, "")}
    odd = {key: value for key, value in run.metrics.items() if key not in plain}
    estimator = run.tags.get("estimator_name", "")
    source = {
        "kind": "mlflow",
        "run": run.id,
        "name": run.name,
        "experiment": experiment.name,
        "registered": versions[0].name if versions else "",
        "tags": run.tags,
        "data": run.data,
        "metrics": odd,
    }
    return Run(
        id=derived_id("r", run.started_at, f"mlflow:{run.id}"),
        model=foreign_name(name),
        dataset="",
        parameters={"mlflow": run.parameters},
        metrics={"reported": {key: {"value": value} for key, value in plain.items()}},
        status=run.status,  # type: ignore[arg-type]
        job_id=None,
        started_at=run.started_at,
        ended_at=run.ended_at or run.started_at,
        algorithm=token(estimator, "") or None,
        facts={"source": {key: value for key, value in source.items() if value}},
    )


# To there ----------------------------------------------------------------------------------------------------------


async def export_here(settings: Settings, model: str | None) -> Transfer:
    """Write every ended run of ours that isn't there yet, and register the verified versions that they made.

    What the server refuses is told and left for the next export, which goes on from there.

    Raises:
        BadConfiguration: no server is set.
        Transient, DataRejected: the server can't be asked, or refuses everything. What was written stays.
    """
    from mcp_server.storage import models, runs
    from mcp_server.storage.records import RunFilter

    done = Transfer()
    async with server(settings) as there, own_app(settings) as app:
        storage = await app.storage()
        tried = _Attempts(done)
        async for run in _paged(
            storage, lambda tx, cursor: runs.list_page(tx, wanted=RunFilter(model=model), cursor=cursor, limit=PART)
        ):
            await _export(storage, there, settings, run, tried)
        registry = mlflow_models.Registry(app, there, _server_mark(storage, settings), done)
        async for version in _paged(
            storage, lambda tx, cursor: models.list_page(tx, name=model, cursor=cursor, limit=PART)
        ):
            name, number = version.name, version.version
            await tried.go(f"{name}@{number}", partial(registry.register, name, number))
        tried.settle()
    return done


async def _paged(
    storage: Storage, page: Callable[[Transaction, str | None], Awaitable[Page[Item]]]
) -> AsyncIterator[Item]:
    cursor = None
    while True:
        async with storage.database.reading() as tx:
            found = await page(tx, cursor)
        for item in found.items:
            yield item
        cursor = found.next_cursor
        if cursor is None:
            return


class _Attempts:
    """Goes on after what was refused, until the server takes nothing or is gone."""

    def __init__(self, done: Transfer) -> None:
        self.done = done
        self._refused = self._silent = 0
        self._answered = False
        self._last: CourtsideError | None = None

    async def go(self, what: str, work: Callable[[], Awaitable[object]]) -> CourtsideError | None:
        """Do one thing, or tell by its name why it was refused; gives the refusal.

        Raises:
            CourtsideError: it's one too many.
        """
        try:
            await work()
        except (Conflict, CorruptArtefact, StorageFailed, Unverified) as failed:  # by what is here, not by the server
            self.done.refuse(f"{what}: {failed.code} {failed.message}")
            return failed
        except (DataRejected, NotFound, Transient) as failed:
            passing = isinstance(failed, Transient)
            self._refused, self._silent = self._refused + 1, self._silent + 1 if passing else 0
            self._answered, self._last = self._answered or not passing, failed
            if self._refused >= MOST_REFUSED or self._silent >= MOST_SILENT:
                raise
            self.done.refuse(f"{what}: {failed.code} {failed.message}")
            return failed
        self._refused = self._silent = 0
        self._answered = True
        return None

    def settle(self) -> None:
        """Raises what the last failure was, where the server never answered."""
        if self._last is not None and not self._answered:
            raise self._last


async def _export(storage: Storage, there: Mlflow, settings: Settings, run: Run, tried: _Attempts) -> None:
    facts = run.facts or {}
    before = facts.get("mlflow", {})
    if facts.get("source", {}).get("kind") == "mlflow":
        return
    if run.status == "running":
        tried.done.unfinished += 1
    elif before.get("state") == "written" and before.get("server") == _server_mark(storage, settings):
        tried.done.known += 1
    else:
        failed = await tried.go(run.id, partial(write, storage, there, settings, run))
        if failed is None:
            tried.done.written += 1
        else:
            await _note_failure(storage, run, failed.code)


async def _note_failure(storage: Storage, run: Run, code: str) -> None:
    from mcp_server.storage import runs

    async with storage.database.transaction() as tx:
        await runs.note_fact(tx, run.id, "mlflow", {"state": "failed", "code": code})


async def write(storage: Storage, there: Mlflow, settings: Settings, run: Run) -> None:
    """Write a run there and note that; raises what the server's failure is."""
    from mcp_server.storage import models, runs

    async with storage.database.reading() as tx:
        made = await models.of_run(tx, run.id)
    experiment = await there.experiment(f"{PREFIX}{run.model}")
    seal = partial(mlflow_models.seal_of, storage.keys, run.id)
    id = await there.write_run(experiment, as_written(run, made), seal)
    async with storage.database.transaction() as tx:
        noted = {"state": "written", "run": id, "server": _server_mark(storage, settings)}
        await runs.note_fact(tx, run.id, "mlflow", noted)


def as_written(run: Run, versions: list[str]) -> dict[str, Any]:
    """A run of ours as MLflow takes it: intervals as metrics `NAME.low` and `NAME.high`, curves by step."""
    from mcp_server.integrations.mlflow_runs import written_run
    from mcp_server.storage import runs

    facts = run.facts or {}
    metrics = dict(runs.figures(run.metrics))
    for name, one in run.metrics.get("test", {}).items():
        ends = {end: one.get(end) for end in ("low", "high")} if isinstance(one, dict) else {}
        metrics |= {f"{name}.{end}": float(value) for end, value in ends.items() if isinstance(value, int | float)}
    for name, value in run.metrics.get("train", {}).items():
        if isinstance(value, int | float):
            metrics[f"train.{name}"] = float(value)
    for name, value in facts.get("cost", {}).items():
        metrics[f"cost.{name}"] = float(value)
    curve = facts.get("curve", {})
    steps = curve.get("iterations") or curve.get("rows") or []
    told = {"dataset": run.dataset, "target": run.target, "algorithm": run.algorithm, **run.parameters}
    parameters = {name: _as_text(value) for name, value in told.items() if value is not None}
    parameters |= {f"environment.{name}": str(value) for name, value in facts.get("environment", {}).items()}
    tags = {
        "courtside.version": __version__,
        "courtside.dataset": run.dataset,
        "courtside.data": facts.get("data", {}).get("digest", ""),
        "courtside.models": " ".join(versions),
        "courtside.error": str(run.metrics.get("error", "")),
        **{f"courtside.file.{name}": digest for name, digest in facts.get("artefacts", {}).items()},
    }
    return written_run(
        run.id,
        name=f"{run.model} {run.algorithm or ''}".strip(),
        status=run.status,
        started_at=run.started_at,
        ended_at=run.ended_at or run.started_at,
        parameters=parameters,
        metrics=metrics,
        curves={
            f"curve.{name}": list(zip(steps, curve[name], strict=True))
            for name in ("train", "validation")
            if steps and name in curve
        },
        tags={name: value for name, value in tags.items() if value},
    )


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _server_mark(storage: Storage, settings: Settings) -> str:
    return storage.keys.pseudonym("an MLflow server", settings.mlflow_url or "")


# New runs ----------------------------------------------------------------------------------------------------------


class Mirror:
    """Copies the runs of a job to the server once it has ended, beside the worker's other work.

    No job waits for it or fails by it: a failure is noted at the run, which the health report tells, and
    `courtside mlflow export` writes later.
    """

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._settings = settings
        self._going: set[asyncio.Task[None]] = set()

    def tell(self, job: str) -> None:
        """Have the runs of an ended job copied."""
        task = asyncio.create_task(self._copy(job))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Give what is going on a moment more; the rest is for an export."""
        if self._going:
            _, late = await asyncio.wait(self._going, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _copy(self, job: str) -> None:
        from mcp_server.storage import runs

        try:
            async with self._storage.database.reading() as tx:
                ended = [run for run in await runs.of_job(tx, job) if run.status != "running"]
            for run in ended:
                try:
                    async with asyncio.timeout(MIRROR_SECONDS), server(self._settings) as there:
                        await write(self._storage, there, self._settings, run)
                except (CourtsideError, TimeoutError) as failed:
                    code = failed.code if isinstance(failed, CourtsideError) else "E_TRANSIENT"
                    log.get("courtside.mlflow").warning("run not copied to MLflow", run=run.id, code=code)
                    await _note_failure(self._storage, run, code)
        except CourtsideError as failed:
            log.get("courtside.mlflow").warning("runs not copied to MLflow", job=job, code=failed.code)


def not_copied(runs: list[Run]) -> list[str]:
    """The error codes of those whose copy failed."""
    found: list[Mapping[str, Any]] = [(run.facts or {}).get("mlflow", {}) for run in runs]
    return [str(one.get("code")) for one in found if one.get("state") == "failed"]
