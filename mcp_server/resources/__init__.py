"""Read-only addresses: runbooks, experiments, model cards, data profiles, lineage, reports; with completion."""

from __future__ import annotations

from mcp.types import Completion, PromptReference, ResourceTemplateReference

from mcp_server.guard.server import GuardedServer
from mcp_server.resources import data, experiments, lineage, models, reports, runbooks

MOST_COMPLETIONS = 50


def register(server: GuardedServer) -> None:
    """Add every resource, template and the one completion handler to a server."""
    runbooks.register(server)
    experiments.register(server)
    models.register(server)
    data.register(server)
    lineage.register(server)
    reports.register(server)

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(ref: object, argument: object, _context: object) -> Completion | None:
        name, value = getattr(argument, "name", ""), str(getattr(argument, "value", ""))[:128]
        if isinstance(ref, ResourceTemplateReference):
            found = await _of_template(server, ref.uri, name, value)
        elif isinstance(ref, PromptReference):
            found = await _of_argument(server, name, value)
        else:
            return None
        values = found[:MOST_COMPLETIONS]
        return Completion(values=values, total=len(found), has_more=len(found) > len(values))


async def _of_template(server: GuardedServer, uri: str, name: str, value: str) -> list[str]:
    if uri.startswith("runbook://"):
        return [name for name in runbooks.names() if name.startswith(value)]
    if uri.startswith("experiment://"):
        return await experiments.complete(server.app, name, value)
    if uri.startswith("model://"):
        return await models.names(server.app, value)
    if uri.startswith("data://") and name == "form":
        return [form for form in data.FORMS if form.startswith(value)]
    if uri.startswith("data://") and name in ("finding", "page"):
        return []
    if uri.startswith("data://"):
        return await data.names(server.app, value)
    if uri.startswith("lineage://"):
        return await lineage.references(server.app, value)
    if uri.startswith("report://") and name == "id":
        return await reports.ids(server.app, value)
    return []


async def _of_argument(server: GuardedServer, name: str, value: str) -> list[str]:
    if name == "model":
        return await models.names(server.app, value)
    if name == "dataset":
        return await data.names(server.app, value)
    if name in ("code", "runbook"):
        return [book for book in runbooks.names() if book.startswith(value)]
    return []
