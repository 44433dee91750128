"""Training runs: the experiment record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from mcp_server.errors import NotFound
from mcp_server.storage import versions
from mcp_server.storage.pages import page_of, rows_wanted, text_after
from mcp_server.storage.records import Json, Page, Run, RunStatus
from mcp_server.storage.tables import runs

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def start(
    tx: Transaction, *, id: str, model: str, dataset: str, parameters: Json, job_id: str | None = None
) -> Run:
    """Record that a run began; a repeated step gives the run that is there.

    Args:
        id: from `ids.new_id("r", ...)`.
        model: the name that the model will have.
        dataset: `name@version`.
    """
    existing = await _find(tx, id)
    if existing is not None:
        return existing
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
    )
    await tx.execute(insert(runs).values({column.name: getattr(run, column.name) for column in runs.c}))
    return run


async def finish(tx: Transaction, id: str, *, status: RunStatus, metrics: Json | None = None) -> Run:
    """Record how a run ended; what has ended stays as it is.

    Raises:
        NotFound: there's no such run.
    """
    await tx.execute(
        update(runs)
        .where(runs.c.id == id, runs.c.status == "running")
        .values(status=status, metrics=metrics or {}, ended_at=tx.now)
    )
    return await get(tx, id)


async def get(tx: Transaction, id: str) -> Run:
    """A run.

    Raises:
        NotFound: there's no such run.
    """
    run = await _find(tx, id)
    if run is None:
        raise NotFound("There is no such run.", hint="Read experiment://MODEL/history for the runs of a model.")
    return run


async def list_page(
    tx: Transaction, *, model: str | None = None, cursor: str | None = None, limit: int = 20
) -> Page[Run]:
    """Runs, the latest first.

    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(runs)
    if model is not None:
        query = query.where(runs.c.model == model)
    before = text_after(cursor)
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = (await tx.execute(query.order_by(runs.c.id.desc()).limit(rows_wanted(limit)))).mappings()
    return page_of([Run(**row) for row in rows], limit, lambda run: run.id)


async def remove(tx: Transaction, id: str) -> None:
    """Delete a run; that it was there stays known."""
    await tx.execute(delete(runs).where(runs.c.id == id))
    await versions.note_deletion(tx, runs.name, id, 0, None)


async def _find(tx: Transaction, id: str) -> Run | None:
    row: Any = (await tx.execute(select(runs).where(runs.c.id == id))).mappings().first()
    return None if row is None else Run(**row)
