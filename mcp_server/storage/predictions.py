"""Stored predictions: features encrypted, personal columns hashed, read in pages."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func, select

from mcp_server.errors import NotFound
from mcp_server.storage.keys import Keys
from mcp_server.storage.pages import page_of, rows_wanted, text_after
from mcp_server.storage.prediction_rows import open_features, open_text, seal_features
from mcp_server.storage.records import Page, PredictionRecord, StoredPrediction
from mcp_server.storage.tables import predictions

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


class Features(NamedTuple):
    """What a prediction was asked, with what is needed to find it again."""

    id: str
    model: str
    request_id: str
    features: dict[str, Any]


async def add(tx: Transaction, records: Sequence[PredictionRecord]) -> None:
    """Store predictions in a transaction, for a call with an idempotency key; the others go through the log.

    A record that is stored already is left as it is.
    """
    if records:
        rows = [
            {
                "id": record.id,
                "at": record.at,
                "model": record.model,
                "version": record.version,
                "digest": record.digest,
                "caller": record.caller,
                "request_id": record.request_id,
                "value": record.value,
                "probability": record.probability,
                "answer": record.answer,
                "flags": record.flags,
                "features": seal_features(tx.keys, record),
            }
            for record in records
        ]
        await tx.execute(tx.upsert(predictions).on_conflict_do_nothing(index_elements=["id"]), rows)


async def get(tx: Transaction, id: str) -> StoredPrediction:
    """A prediction.

    Raises:
        NotFound: there's none with the id.
        CorruptArtefact: its features were changed, or encrypted with another key.
    """
    row: Any = (await tx.execute(select(predictions).where(predictions.c.id == id))).mappings().first()
    if row is None:
        raise NotFound("There is no such prediction.", hint="Use the id that predict answered with.")
    return _stored(tx.keys, row)


async def list_page(
    tx: Transaction,
    *,
    model: str | None = None,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[StoredPrediction]:
    """Predictions in the order of their ids, which is that of their making.

    Args:
        model: as the model version writes its name.
        since: aware; this moment or later.
        until: aware; before this moment.
    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
        CorruptArtefact: features were changed, or encrypted with another key.
    """
    query = _where(select(predictions), model, version, since, until)
    after = text_after(cursor)
    if after is not None:
        query = query.where(predictions.c.id > after)
    rows = (await tx.execute(query.order_by(predictions.c.id).limit(rows_wanted(limit)))).mappings().all()
    return page_of([_stored(tx.keys, row) for row in rows], limit, lambda prediction: prediction.id)


async def count(
    tx: Transaction,
    *,
    model: str | None = None,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """How many predictions there are; the arguments are those of `list_page`."""
    query = _where(select(func.count()).select_from(predictions), model, version, since, until)
    return int((await tx.execute(query)).scalar_one())


async def having(
    tx: Transaction, texts: Collection[str], *, after: str | None = None, limit: int = 1_000
) -> tuple[list[Features], str | None]:
    """Of the predictions after an id, those in whose features one of some texts stands, in any case.

    Args:
        texts: as JSON writes them.
        after: an id, or None for the beginning.
        limit: how many predictions to look at.
    Returns:
        the found ones, and the id of the last one that was looked at; None where there was none.
    Raises:
        CorruptArtefact: features were changed, or encrypted with another key.
    """
    columns = [predictions.c[name] for name in ("id", "model", "request_id", "features")]
    query = select(*columns).order_by(predictions.c.id).limit(limit)
    if after is not None:
        query = query.where(predictions.c.id > after)
    rows = (await tx.execute(query)).all()
    needles = [text.casefold() for text in texts]
    found = []
    for row in rows:
        content = open_text(tx.keys, row.id, row.features)
        folded = content.decode("utf-8", "replace").casefold()
        if any(needle in folded for needle in needles):
            found.append(Features(row.id, row.model, row.request_id, json.loads(content)))
    return found, rows[-1].id if rows else None


async def remove(tx: Transaction, ids: Sequence[str]) -> int:
    """Delete predictions.

    Returns:
        how many there were.
    """
    removed = 0
    for start in range(0, len(ids), 500):  # a statement has a bounded number of parameters
        statement = delete(predictions).where(predictions.c.id.in_(ids[start : start + 500]))
        removed += (await tx.execute(statement)).rowcount
    return removed


def _where(query: Any, model: str | None, version: int | None, since: datetime | None, until: datetime | None) -> Any:
    if model is not None:
        query = query.where(predictions.c.model == model)
    if version is not None:
        query = query.where(predictions.c.version == version)
    if since is not None:
        query = query.where(predictions.c.at >= since)
    if until is not None:
        query = query.where(predictions.c.at < until)
    return query


def _stored(keys: Keys, row: Any) -> StoredPrediction:
    values = dict(row)
    values["features"] = open_features(keys, values["id"], values["features"])
    return StoredPrediction(**values)
