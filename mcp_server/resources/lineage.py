"""Lineage: from anything that was made back to its sources."""

from __future__ import annotations

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.resources import data, models
from mcp_server.workflows.app import App
from mcp_server.workflows.lineage import trace


def register(server: GuardedServer) -> None:
    @server.resource("lineage://{reference}", title="Lineage", mime_type="application/json")
    async def lineage(reference: str) -> str:
        """What a data set version, model version or prediction was made from, and what was made from it."""
        return orjson.dumps(await trace(server.app, reference), option=orjson.OPT_INDENT_2).decode()


async def references(app: App, start: str) -> list[str]:
    """Data sets and models whose names begin so, with their versions."""
    return sorted({*await data.names(app, start), *await models.names(app, start)})
