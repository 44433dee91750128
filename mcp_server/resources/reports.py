"""Reports: the list, each one's text, its pictures, and files of it."""

from __future__ import annotations

import orjson

from mcp_server.guard.server import GuardedServer
from mcp_server.guard.text import clean_json
from mcp_server.workflows import reporting
from mcp_server.workflows.app import App


def register(server: GuardedServer) -> None:
    # Before the template that would take `list` for an id.
    @server.resource("report://list{?cursor}", title="Reports", mime_type="application/json")
    async def listed(cursor: str | None = None) -> str:
        """The reports that were made, the newest first; 20 on a page."""
        return orjson.dumps(clean_json(await reporting.listed(server.app, cursor)), option=orjson.OPT_INDENT_2).decode()

    @server.resource("report://{id}", title="Report", mime_type="text/markdown")
    async def report(id: str) -> str:
        """A report as it was made: Markdown, without its pictures."""
        return await reporting.read(server.app, id)

    @server.resource("report://{id}/pictures/{number}", title="Picture of a report", mime_type="image/png")
    async def picture(id: str, number: str) -> bytes:
        """A picture of a report, counted from 1."""
        return await reporting.picture(server.app, id, number)

    @server.resource("report://{id}/html", title="Report as a page", mime_type="text/html")
    async def page(id: str) -> bytes:
        """A report as one HTML file with its pictures; no script, nothing fetched."""
        return await reporting.read_as(server.app, id, "html")

    @server.resource("report://{id}/pdf", title="Report as a PDF", mime_type="application/pdf")
    async def paper(id: str) -> bytes:
        """A report as a PDF; needs the extra `pdf`."""
        return await reporting.read_as(server.app, id, "pdf")

    @server.resource("report://{id}/csv", title="Figures of a report", mime_type="text/csv")
    async def figures(id: str) -> bytes:
        """Every figure behind a report: section, about, fact, value."""
        return await reporting.read_as(server.app, id, "csv")


async def ids(app: App, start: str) -> list[str]:
    """The newest reports' ids that begin so."""
    from mcp_server.storage import reports

    storage = await app.storage()
    async with storage.database.reading() as tx:
        return await reports.ids(tx, start)
