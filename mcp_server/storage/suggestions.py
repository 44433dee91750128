"""Which rows of a data set version were suggested to be labelled, and what their labels gained once they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, update

from mcp_server.core.names import check_name, fold_name, reference
from mcp_server.storage.records import DatasetVersion, Json, Suggestion
from mcp_server.storage.tables import suggestions

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def add(
    tx: Transaction,
    dataset: DatasetVersion,
    pool: DatasetVersion | None,
    *,
    count: int,
    seed: int,
    rows: list[int],
    expected: Json | None,
) -> bool:
    """Record a suggestion, once for each question: the same one has the same answer.

    Args:
        dataset: whose labelled rows the models learned from.
        pool: whose rows were chosen; None where they're those of `dataset`.
        count, seed: what was asked.
        rows: numbers of the chosen rows, from 1.
    Returns:
        whether it was added.
    """
    statement = tx.upsert(suggestions).values(
        folded=fold_name(dataset.name),
        dataset=reference(dataset.name, dataset.version),
        digest=dataset.digest,
        pool="" if pool is None else reference(pool.name, pool.version),
        pool_digest="" if pool is None else pool.digest,
        count=count,
        seed=seed,
        rows=rows,
        expected=expected,
        gain=None,
        at=tx.now,
    )
    same = ["folded", "digest", "pool", "pool_digest", "count", "seed"]
    return bool((await tx.execute(statement.on_conflict_do_nothing(index_elements=same))).rowcount)


async def newest(tx: Transaction, name: str, *, limit: int) -> list[Suggestion]:
    """The suggestions for a data set, or of rows of it, the newest first; at most so many.

    Raises:
        DataRejected: `E_NAME`; the name isn't well formed.
    """
    folded = fold_name(check_name(name))
    # Names are ASCII, and two that differ only in case can't both be there.
    of_pool = suggestions.c.pool.ilike(f"{folded.replace('_', '#_')}@%", escape="#")
    query = (
        select(suggestions)
        .where(or_(suggestions.c.folded == folded, of_pool))
        .order_by(suggestions.c.id.desc())
        .limit(limit)
    )
    return [
        Suggestion(
            row.id,
            row.dataset,
            row.digest,
            row.pool or None,
            row.pool_digest or None,
            tuple(row.rows),
            row.expected,
            row.gain,
            row.at,
        )
        for row in (await tx.execute(query)).all()
    ]


async def record_gain(tx: Transaction, id: int, gain: Json) -> None:
    """Store what the labels of a suggestion gained; a later measurement, of more labels, takes its place."""
    await tx.execute(update(suggestions).where(suggestions.c.id == id).values(gain=gain))


async def forget(tx: Transaction, record: DatasetVersion) -> None:
    """Delete the suggestions that were made from a version, or of its rows."""
    named = reference(record.name, record.version)
    await tx.execute(delete(suggestions).where(or_(suggestions.c.dataset == named, suggestions.c.pool == named)))
