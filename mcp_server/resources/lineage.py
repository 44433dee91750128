"""Lineage: from anything that was made back to its sources."""

from __future__ import annotations

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.resources import data, models
from mcp_server.workflows.app import App
from mcp_server.workflows.lineage import picture, trace


def register(server: GuardedServer) -> None:
    @server.resource("lineage://{reference}", title="Lineage", mime_type="application/json")
    async def lineage(reference: str) -> str:
        """What a data set version, model version or prediction was made from, and what was made from it."""
        return orjson.dumps(await trace(server.app, reference), option=orjson.OPT_INDENT_2).decode()

    @server.resource("lineage://{reference}/picture", title="Lineage, drawn", mime_type="image/png")
    async def drawn(reference: str) -> bytes:
        """The same as a picture: sources, versions, runs, models and predictions, from the top downwards."""
        return await picture(server.app, reference)


async def references(app: App, start: str) -> list[str]:
    """Data sets and models whose names begin so, with their versions."""
    return sorted({*await data.names(app, start), *await models.names(app, start)})
