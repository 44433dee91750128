"""Runbooks: Markdown that ships with the server, one for each kind of error or attention that it raises."""

from __future__ import annotations

from functools import cache
from importlib import resources

from mcp_server.errors import CODES, NotFound
from mcp_server.guard.server import GuardedServer


@cache
def names() -> tuple[str, ...]:
    """Every runbook, sorted."""
    folder = resources.files("mcp_server") / "runbooks"
    return tuple(sorted(file.name.removesuffix(".md") for file in folder.iterdir() if file.name.endswith(".md")))


def text(name: str) -> str:
    """The Markdown of one runbook. Raises NotFound."""
    # Only a listed name reaches the file system.
    if name not in names():
        raise NotFound("There is no runbook of that name.", hint="runbook://index lists them.")
    return (resources.files("mcp_server") / "runbooks" / f"{name}.md").read_text(encoding="utf-8")


def index() -> str:
    """The list of runbooks with the error codes that lead to each."""
    lines = ["# Runbooks", ""]
    for name in names():
        codes = ", ".join(sorted(code for code, about in CODES.items() if about.runbook == name))
        lines.append(f"- runbook://{name}{f': {codes}' if codes else ''}")
    return "\n".join(lines) + "\n"


def register(server: GuardedServer) -> None:
    @server.resource("runbook://index", title="Runbooks", mime_type="text/markdown")
    async def runbook_index() -> str:
        """What to do about each kind of error or attention."""
        return index()

    @server.resource("runbook://{name}", title="Runbook", mime_type="text/markdown")
    async def runbook(name: str) -> str:
        """What happened, how to tell, what to do."""
        return text(name)
