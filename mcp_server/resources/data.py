"""Data profiles and contracts, and how the quality of a data set went over its validations."""

from __future__ import annotations

from typing import Any

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.guard.text import bound_json, clean_json
from mcp_server.workflows import contracts, findings, validating
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import describe

FORMS = tuple(contracts.FORMS)
MOST_CONTRACT = 24_000
"""Bytes of compact JSON; indented and as text in an answer it's more than twice that."""
MOST_PAGE = 50_000
"""Likewise, not indented: full pages of the longest names and cells are below."""


def register(server: GuardedServer) -> None:
    @server.resource("data://{name}/profile", title="Data profile", mime_type="application/json")
    async def profile(name: str) -> str:
        """Profile and contract of a data set version; name or name@version."""
        described = await describe(server.app, name)
        return _text(described.model_dump(mode="json", exclude_none=True))

    @server.resource("data://{name}/diff/{against}", title="Data difference", mime_type="application/json")
    async def differing(name: str, against: str) -> str:
        """What a data set version has otherwise than another; each a name or name@version."""
        described = await describe(server.app, name, against)
        return _text(bound_json(clean_json(described.model_dump(mode="json", exclude_none=True)), MOST_CONTRACT))

    @server.resource("data://{name}/contract", title="Data contract", mime_type="application/json")
    async def contract(name: str) -> str:
        """What a data set version promises, and what that breaks; name or name@version."""
        return _text(bound_json(clean_json(await contracts.contract(server.app, name)), MOST_CONTRACT))

    @server.resource("data://{name}/contract/{form}", title="Contract elsewhere", mime_type="application/json")
    async def elsewhere(name: str, form: str) -> str:
        """The contract as pandera YAML or a suite of great_expectations, and what neither carries."""
        return _text(clean_json(await contracts.exported(server.app, name, form)))

    @server.resource("data://{name}/findings{?page}", title="Findings", mime_type="application/json")
    async def listed(name: str, page: str = "1") -> str:
        """Everything that a check of a data set version finds, gravest first; 25 on a page."""
        return _page(await findings.listed(server.app, name, page))

    @server.resource("data://{name}/findings/{finding}{?page}", title="Rows of a finding", mime_type="application/json")
    async def concerned(name: str, finding: str, page: str = "1") -> str:
        """All rows that a finding of validate_data concerns, with its columns' cells; 100 on a page."""
        return _page(await findings.rows(server.app, name, finding, page))

    @server.resource("data://{name}/quality", title="Quality history", mime_type="application/json")
    async def quality(name: str) -> str:
        """The validations of a data set, newest first: verdict, and the rows that each rule concerned."""
        return _text(await validating.history(server.app, name))

    @server.resource("data://{name}/quality.png", title="Quality history, drawn", mime_type="image/png")
    async def quality_picture(name: str) -> bytes:
        """The rows that each warning or failing rule concerned, validation by validation."""
        return await validating.picture(server.app, name)


def _page(document: Any) -> str:
    return orjson.dumps(bound_json(clean_json(document), MOST_PAGE)).decode()


def _text(document: Any) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


async def names(app: App, start: str) -> list[str]:
    """Names of data sets that begin so, and their newest versions."""
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await datasets.list_page(tx, search=start.partition("@")[0] or None, limit=100)
    both = [name for one in page.items for name in (one.name, f"{one.name}@{one.version}")]
    return sorted({name for name in both if name.startswith(start)})
