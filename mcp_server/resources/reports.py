"""Reports: the list, each one's text, its pictures, and files of it."""

from __future__ import annotations

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.workflows import reporting
from mcp_server.workflows.app import App

FORMS = tuple(reporting.SUFFIXES)


def register(server: GuardedServer) -> None:
    # Before the template that would take `list` for an id.
    @server.resource("report://list{?cursor}", title="Reports", mime_type="application/json")
    async def listed(cursor: str | None = None) -> str:
        """The reports that were made, the newest first; 20 on a page."""
        return orjson.dumps(await reporting.listed(server.app, cursor), option=orjson.OPT_INDENT_2).decode()

    @server.resource("report://{id}", title="Report", mime_type="text/markdown")
    async def report(id: str) -> str:
        """A report as it was made: Markdown, without its pictures."""
        return await reporting.read(server.app, id)

    @server.resource("report://{id}/pictures/{number}", title="Picture of a report", mime_type="image/png")
    async def picture(id: str, number: str) -> bytes:
        """A picture of a report, counted from 1."""
        return await reporting.picture(server.app, id, number)

    @server.resource("report://{id}/{form}", title="Report as a file", mime_type="application/octet-stream")
    async def file(id: str, form: str) -> bytes:
        """A report as one file: html, with its pictures; pdf; csv, its figures; markdown."""
        return await reporting.read_as(server.app, id, form)


async def ids(app: App, start: str) -> list[str]:
    """The newest reports' ids that begin so."""
    from mcp_server.storage import reports

    storage = await app.storage()
    async with storage.database.reading() as tx:
        return await reports.ids(tx, start)
