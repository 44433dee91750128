"""Training runs: the experiment record, and finding runs in it."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, delete, exists, func, insert, or_, select, update

from mcp_server.core.names import fold_name
from mcp_server.errors import InvalidInput, NotFound
from mcp_server.storage import versions
from mcp_server.storage.pages import contains, page_of, rows_wanted, text_after
from mcp_server.storage.records import Json, Page, Run, RunFilter, RunStatus
from mcp_server.storage.tables import run_metrics, runs

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

LONGEST_TARGET = 256
LONGEST_METRIC = 64
TEST_ROWS = "test_rows.json"
"""The file of a run that holds the numbers of the rows that it was judged on, in their order."""
MOST_METRICS = 100
"""As many names of metrics are told."""

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EVERY = RunFilter()


async def start(
    tx: Transaction,
    *,
    id: str,
    model: str,
    dataset: str,
    parameters: Json,
    job_id: str | None = None,
    algorithm: str | None = None,
    target: str | None = None,
    facts: Json | None = None,
) -> Run:
    """Record that a run began; a repeated step gives the run that is there.

    Args:
        id: from `ids.new_id("r", ...)`.
        model: the name that the model will have.
        dataset: `name@version`.
        algorithm, target, facts: as in `Run`.
    """
    run = Run(
        id=id,
        model=model,
        dataset=dataset,
        parameters=parameters,
        metrics={},
        status="running",
        job_id=job_id,
        started_at=tx.now,
        ended_at=None,
        algorithm=algorithm,
        target=target,
        facts=facts,
    )
    return await add(tx, run)


async def add(tx: Transaction, run: Run) -> Run:
    """Record a run as it is, ended ones too; gives the run of this id that is there already."""
    existing = await _find(tx, run.id)
    if existing is not None:
        return existing
    values = {column.name: getattr(run, column.name) for column in runs.c}
    if run.target is not None:
        values["target"] = run.target[:LONGEST_TARGET]
    await tx.execute(insert(runs).values(values))
    await _note_metrics(tx, run.id, run.metrics)
    return await get(tx, run.id)


async def finish(
    tx: Transaction, id: str, *, status: RunStatus, metrics: Json | None = None, facts: Json | None = None
) -> Run:
    """Record how a run ended; what has ended stays as it is.

    Args:
        facts: join those that were noted at its start.
    Raises:
        NotFound: there's no such run.
    """
    before = await get(tx, id)
    if before.status != "running":
        return before
    ended = {"status": status, "metrics": metrics or {}, "ended_at": tx.now}
    if facts:
        ended["facts"] = {**(before.facts or {}), **facts}
    await tx.execute(update(runs).where(runs.c.id == id).values(**ended))
    await _note_metrics(tx, id, metrics or {})
    return await get(tx, id)


async def get(tx: Transaction, id: str) -> Run:
    """A run.

    Raises:
        NotFound: there's no such run.
    """
    run = await _find(tx, id)
    if run is None:
        raise NotFound("There is no such run.", hint="Call search_models with runs for the runs that there are.")
    return run


async def list_page(
    tx: Transaction, *, wanted: RunFilter = _EVERY, cursor: str | None = None, limit: int = 20
) -> Page[Run]:
    """Runs that are wanted, the latest first, or by a metric.

    The ids are found in indexes alone; only the rows of the page are read, each of which can be large.

    Raises:
        InvalidInput: the cursor isn't one of a list in this order, or the limit is out of bounds.
    """
    query, sort = page_of_ids(wanted, text_after(cursor)), wanted.sort
    found = (await tx.execute(query.limit(rows_wanted(limit)))).all()
    page = page_of(found, limit, lambda row: row.id if sort is None else f"{sort} {row.value!r} {row.id}")
    ids = [row.id for row in page.items]
    rows = {row["id"]: Run(**row) for row in (await tx.execute(select(runs).where(runs.c.id.in_(ids)))).mappings()}
    return Page(tuple(rows[id] for id in ids), page.next_cursor)


def page_of_ids(wanted: RunFilter, after: str | None = None) -> Select[Any]:
    """The statement that finds the ids of `list_page` (`id`, and `value` in an order by a metric), without its limit.

    Args:
        after: what a cursor of this list holds.
    Raises:
        InvalidInput: it's of a list in another order.
    """
    conditions = _conditions(wanted)
    if wanted.sort is None:
        query = select(runs.c.id).where(*conditions).order_by(runs.c.id.desc())
        return query if after is None else query.where(runs.c.id < after)
    value, id = run_metrics.c.value, run_metrics.c.run_id
    query = select(id.label("id"), value).where(run_metrics.c.name == wanted.sort)
    if conditions:
        # Found once, in one pass over an index: looking each run up in the order of the metric takes five times longer.
        query = query.where(id.in_(select(runs.c.id).where(*conditions)))
    if after is not None:
        last, last_id = _value_after(wanted.sort, after)
        beyond = operator.lt if wanted.descending else operator.gt
        # The first condition says nothing more; it's the one that begins in the middle of the index.
        query = query.where(value <= last if wanted.descending else value >= last)
        query = query.where(or_(beyond(value, last), and_(value == last, beyond(id, last_id))))
    return query.order_by(*((value.desc(), id.desc()) if wanted.descending else (value, id)))


async def with_metric(
    tx: Transaction, model: str, metric: str, *, limit: int
) -> list[tuple[str, float | None, str, str | None]]:
    """The newest runs of a model that have a metric or failed, oldest first.

    Args:
        limit: >= 1.
    Returns:
        the id of each, its value, None where it failed, its data set, and the digests of this and of the numbers of
        the rows that it was judged on, or None where they weren't kept.
    """
    measured = and_(run_metrics.c.run_id == runs.c.id, run_metrics.c.name == metric)
    query = (
        select(
            runs.c.id,
            run_metrics.c.value,
            runs.c.dataset,
            runs.c.facts[("data", "digest")].as_string().label("data"),
            runs.c.facts[("artefacts", TEST_ROWS)].as_string().label("rows"),
        )
        .outerjoin(run_metrics, measured)
        .where(runs.c.model == model, or_(run_metrics.c.value.is_not(None), runs.c.status == "failed"))
        .order_by(runs.c.id.desc())
        .limit(limit)
    )
    found = [(row.id, row.value, row.dataset, judged_on(row.data, row.rows)) for row in await tx.execute(query)]
    return found[::-1]


def judged_on(data: str | None, rows: str | None) -> str | None:
    """What is the same for runs that were judged on the same rows alone: both digests, or None where one is missing."""
    return f"{data} {rows}" if data and rows else None


async def metric_names(tx: Transaction, model: str | None = None) -> list[str]:
    """The metrics that runs have, of one model or of all, the most frequent first."""
    query = select(run_metrics.c.name).group_by(run_metrics.c.name)
    if model is not None:
        query = query.join(runs, runs.c.id == run_metrics.c.run_id).where(runs.c.model == model)
    query = query.order_by(func.count().desc(), run_metrics.c.name).limit(MOST_METRICS)
    return list((await tx.execute(query)).scalars())


async def ids(tx: Transaction, prefix: str, *, limit: int = 100) -> list[str]:
    """The newest ids that begin so, for completion."""
    query = select(runs.c.id).where(runs.c.id.like(contains(prefix)[1:], escape="\\"))
    return list((await tx.execute(query.order_by(runs.c.id.desc()).limit(limit))).scalars())


async def models(tx: Transaction, prefix: str, *, limit: int = 100) -> list[str]:
    """The names of models that have runs and begin so, for completion."""
    pattern = contains(prefix)[1:]
    query = select(runs.c.model).distinct().where(runs.c.model.like(pattern, escape="\\"))
    return list((await tx.execute(query.order_by(runs.c.model).limit(limit))).scalars())


async def of_job(tx: Transaction, job: str) -> list[Run]:
    """The runs of a job."""
    query = select(runs).where(runs.c.job_id == job).order_by(runs.c.id)
    return [Run(**row) for row in (await tx.execute(query)).mappings()]


async def note_fact(tx: Transaction, id: str, name: str, value: Any) -> None:
    """Note something of a run that came to be known after its end.

    Raises:
        NotFound: there's no such run.
    """
    run = await get(tx, id)
    await tx.execute(update(runs).where(runs.c.id == id).values(facts={**(run.facts or {}), name: value}))


async def remove(tx: Transaction, id: str) -> None:
    """Delete a run; that it was there stays known."""
    await tx.execute(delete(run_metrics).where(run_metrics.c.run_id == id))
    await tx.execute(delete(runs).where(runs.c.id == id))
    await versions.note_deletion(tx, runs.name, id, 0, None)


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What runs are sorted by: the finite values of the metrics on test rows, or that another system reported.

    >>> figures({"test": {"rmse": {"value": 2.5, "low": 2.0, "high": 3.0}, "r2": {"value": float("nan")}}})
    {'rmse': 2.5}
    """
    values = {name: one.get("value") for name, one in measured(metrics).items() if isinstance(one, Mapping)}
    return {
        name[:LONGEST_METRIC]: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def measured(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics on test rows, and those that another system reported without saying of which rows."""
    parts = (metrics.get("reported"), metrics.get("test"))
    return {name: one for part in parts if isinstance(part, Mapping) for name, one in part.items()}


async def _note_metrics(tx: Transaction, id: str, metrics: Json) -> None:
    rows = [{"run_id": id, "name": name, "value": value} for name, value in figures(metrics).items()]
    if rows:
        await tx.execute(insert(run_metrics), rows)


def _conditions(wanted: RunFilter) -> Sequence[Any]:
    found: list[Any] = [
        column == value
        for column, value in (
            (runs.c.model, wanted.model),
            (runs.c.target, wanted.target),
            (runs.c.algorithm, wanted.algorithm),
            (runs.c.status, wanted.status),
        )
        if value is not None
    ]
    if wanted.part is not None:
        found.append(func.lower(runs.c.model).like(contains(fold_name(wanted.part)), escape="\\"))
    if wanted.dataset is not None:
        whole = "@" in wanted.dataset
        versions_of = contains(wanted.dataset + "@")[1:]
        found.append(runs.c.dataset == wanted.dataset if whole else runs.c.dataset.like(versions_of, escape="\\"))
    if wanted.since is not None:
        found.append(runs.c.started_at >= wanted.since)
    for bound in wanted.bounds:
        bounded = run_metrics.alias()
        within = _RELATIONS[bound.relation](bounded.c.value, bound.value)
        found.append(exists().where(bounded.c.run_id == runs.c.id, bounded.c.name == bound.metric, within))
    return found


def _value_after(metric: str, after: str) -> tuple[float, str]:
    name, _, rest = after.rpartition(" ")[0].rpartition(" ")
    id = after.rpartition(" ")[2]
    try:
        value = float(rest)
    except ValueError:
        value = math.nan
    if name != metric or not math.isfinite(value):
        raise InvalidInput("The cursor is of a list in another order.", hint="Leave the cursor out to begin again.")
    return value, id


async def _find(tx: Transaction, id: str) -> Run | None:
    row: Any = (await tx.execute(select(runs).where(runs.c.id == id))).mappings().first()
    return None if row is None else Run(**row)
