"""Model cards, written from facts."""

from __future__ import annotations

from mcp_server.guard.server import GuardedServer
from mcp_server.workflows import cards
from mcp_server.workflows.app import App


def register(server: GuardedServer) -> None:
    @server.resource("model://{name}/card", title="Model card", mime_type="text/markdown")
    async def card(name: str) -> str:
        """What a model version is, was trained on, and is worth; name or name@version."""
        return await cards.card(server.app, name)


async def names(app: App, start: str) -> list[str]:
    """Names of models that begin so, and their versions once the name is whole."""
    from mcp_server.storage import models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await models.list_page(tx, search=start.partition("@")[0] or None, limit=100)
    both = [name for model in page.items for name in (model.name, f"{model.name}@{model.version}")]
    return sorted({name for name in both if name.startswith(start)})
