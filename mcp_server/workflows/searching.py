"""Finding models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mcp_server.core.governance.standing import FIRST, parse_filters
from mcp_server.core.names import check_name, parse_reference
from mcp_server.errors import DataRejected, NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Models
from mcp_server.workflows.reply import token

if TYPE_CHECKING:
    from mcp_server.storage.ledger import Part
    from mcp_server.storage.records import ModelSummary, Page
    from mcp_server.storage.transaction import Transaction

PREDICTION = "p_"
SHOWN = ("log_loss", "roc_auc", "accuracy", "rmse", "r2", "macro_roc_auc")


async def search(app: App, query: str | None, limit: int, cursor: str | None) -> Models:
    """A page of model versions, newest first.

    Args:
        query: a part of their names, or name@version; words such as `stage:production`; a prediction that one has made.
    """
    from mcp_server.storage import governance, ledger, models

    wanted = parse_filters(query)
    name, version = _reference(wanted.text)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await models.list_page(
            tx,
            search=wanted.text if version is None else None,
            name=name,
            version=version,
            stage=wanted.stage,
            owner=wanted.owner,
            tagged=wanted.tags,
            limit=limit,
            cursor=cursor,
        )
        following = _next(bool(page.items), query)
        if not page.items and query is not None and query.startswith(PREDICTION):
            page, following = await _behind(tx, query)
        found = [(model.name, model.version) for model in page.items]
        tags = await governance.tags_of(tx, found)
        wrong = await ledger.not_as_sealed(tx, found)
    rows = [
        _row(model, tags.get((model.name, model.version), {}), wrong.get((model.name, model.version), ()))
        for model in page.items
    ]
    return Models(models=rows, cursor=page.next_cursor, next=following)


def _reference(text: str | None) -> tuple[str | None, int | None]:
    """Name and version, where the words of a query are `name@version`."""
    with suppress(DataRejected):
        name, version = parse_reference(text or "")
        if version is not None:
            return name, version
    return None, None


async def _behind(tx: Transaction, prediction: str) -> tuple[Page[ModelSummary], str]:
    """The version that made a prediction, where both are still there; and what leads on to its sources."""
    from mcp_server.storage import models, predictions
    from mcp_server.storage.records import Page

    try:
        made = await predictions.get(tx, prediction)
    except NotFound:
        return Page(()), _next(False, prediction)
    page = await models.list_page(tx, name=made.model, version=made.version, limit=1)
    data = f"describe_data with dataset {page.items[0].dataset} tells its sources; " if page.items else ""
    return page, f"{data}lineage://{made.id} leads all the way back."


def _row(model: ModelSummary, tags: dict[str, str], wrong: Sequence[Part]) -> dict[str, Any]:
    """A version in a list; what of it isn't as sealed is said to be so, and not repeated."""
    metrics = model.metrics.get("test", {})
    standing = {
        **({} if model.stage == FIRST else {"stage": model.stage}),
        **({} if model.owner is None else {"owner": model.owner}),
        **({"tags": tags} if tags else {}),
    }
    return {
        "model": f"{check_name(model.name)}@{model.version}",
        "algorithm": model.metrics.get("algorithm", "unknown"),
        "task": model.task,
        "target": token(model.target, "see its card"),
        "dataset": model.dataset,
        "metrics": {name: round(metrics[name]["value"], 4) for name in SHOWN if name in metrics},
        "verification": "not as signed" if "verdict" in wrong else model.verdict or "not verified",
        "created_at": model.created_at.isoformat(timespec="seconds"),
        "digest": model.digest,
        **({"standing": "not as signed"} if "standing" in wrong else standing),
    }


def _next(found: bool, query: str | None) -> str:
    if found:
        return "predict or compare_models with name@version."
    return "search_models without a query lists every model." if query else "train_model makes the first version."
