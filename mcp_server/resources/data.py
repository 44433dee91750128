"""Data profiles."""

from __future__ import annotations

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import describe


def register(server: GuardedServer) -> None:
    @server.resource("data://{name}/profile", title="Data profile", mime_type="application/json")
    async def profile(name: str) -> str:
        """Profile and contract of a data set version; name or name@version."""
        described = await describe(server.app, name)
        return orjson.dumps(described.model_dump(mode="json", exclude_none=True), option=orjson.OPT_INDENT_2).decode()


async def names(app: App, start: str) -> list[str]:
    """Names of data sets that begin so, and their newest versions."""
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await datasets.list_page(tx, search=start.partition("@")[0] or None, limit=100)
    both = [name for one in page.items for name in (one.name, f"{one.name}@{one.version}")]
    return sorted({name for name in both if name.startswith(start)})
