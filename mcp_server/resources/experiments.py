"""Experiment history: runs searched, the runs of a model, one run, several side by side, and the best so far, drawn."""

from __future__ import annotations

from typing import Any, get_args

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.guard.text import bound_json, clean_json
from mcp_server.workflows import experiments
from mcp_server.workflows.app import App

MOST_DOCUMENT = 50_000
"""Bytes of compact JSON: a page that is cut says so, and `limit` lets it be smaller."""


def register(server: GuardedServer) -> None:
    @server.resource("experiment://runs{?query,cursor,limit}", title="Runs", mime_type="application/json")
    async def found(query: str | None = None, cursor: str | None = None, limit: str = "20") -> str:
        """Runs found by a query, as search_models takes it; the next page by its cursor."""
        size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 4 else 0
        return _text(await experiments.listed(server.app, query, cursor, limit=min(size, experiments.PAGE)))

    @server.resource("experiment://{model}/history{?cursor}", title="Experiment history", mime_type="application/json")
    async def history(model: str, cursor: str | None = None) -> str:
        """The runs of a model, newest first: parameters, data version, metrics with intervals, cost."""
        return _text(await experiments.history(server.app, model, cursor))

    @server.resource("experiment://{model}/history.png{?metric}", title="Best so far, drawn", mime_type="image/png")
    async def picture(model: str, metric: str | None = None) -> bytes:
        """A metric of a model's runs in the order they ran, with the best so far; failed runs are marked."""
        return await experiments.picture(server.app, model, metric)

    @server.resource("experiment://runs/{id}", title="Training run", mime_type="application/json")
    async def run(id: str) -> str:
        """One run: parameters, data version, metrics with intervals, what tuning tried, files, environment, cost."""
        return _text(await experiments.one(server.app, id))

    @server.resource("experiment://compare/{+ids}", title="Runs side by side", mime_type="application/json")
    async def compare(ids: str) -> str:
        """2-8 runs, ids with commas between: metrics with intervals, and what went in that isn't the same in all."""
        return _text(await experiments.compare(server.app, ids))

    @server.resource("experiment://curves/{+ids}", title="Learning curves, drawn", mime_type="image/png")
    async def curves(ids: str) -> bytes:
        """Learning curves of 1-8 runs, ids with commas between: loss by iteration, or by rows where tuned."""
        return await experiments.curves(server.app, ids)


async def complete(app: App, name: str, start: str) -> list[str]:
    """Values of a template's variable that begin so."""
    from mcp_server.storage import runs
    from mcp_server.storage.records import RunStatus

    storage = await app.storage()
    async with storage.database.reading() as tx:
        match name:
            case "id":
                return await runs.ids(tx, start)
            case "ids":
                before, comma, last = start.rpartition(",")
                taken = before.split(",")
                return [f"{before}{comma}{id}" for id in await runs.ids(tx, last) if id not in taken]
            case "model":
                return await runs.models(tx, start)
            case "metric":
                return [metric for metric in await runs.metric_names(tx) if metric.startswith(start)]
            case "query":
                offered = [f"status={status}" for status in get_args(RunStatus)]
                offered += [f"sort={metric}" for metric in await runs.metric_names(tx)]
                offered += [f"model={model}" for model in await runs.models(tx, start.removeprefix("model="))]
                return [one for one in offered if one.startswith(start)]
    return []


def _text(document: dict[str, Any]) -> str:
    return orjson.dumps(bound_json(clean_json(document), MOST_DOCUMENT), option=orjson.OPT_INDENT_2).decode()
