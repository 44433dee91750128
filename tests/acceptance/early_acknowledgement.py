"""The control: a server that acknowledges predictions and imports before it commits them."""

from __future__ import annotations

import asyncio

from mcp_server import settings
from mcp_server.guard.stdio import serve_stdio
from mcp_server.server import build_server
from mcp_server.workflows import importing
from mcp_server.workflows.app import App
from mcp_server.workflows.data_answers import Imported

opened, record = App.storage, importing._record
late = set()


async def storage(self: App):
    found = await opened(self)
    log = found.predictions
    if not hasattr(log, "late"):
        append = log.append
        log.late = set()

        async def later(records):
            await asyncio.sleep(0.05)
            await append(records)

        async def early(records):
            task = asyncio.create_task(later(records))
            log.late.add(task)

        log.append = early
    return found


async def acknowledge(app, call, name, source, parsed, *rest):
    async def later():
        await asyncio.sleep(0.05)
        await record(app, call, name, source, parsed, *rest)

    late.add(asyncio.create_task(later()))
    return Imported(dataset=f"{name}@1", rows=parsed["rows"], columns=parsed["columns"], digest="sha256:unknown")


App.storage, importing._record = storage, acknowledge
asyncio.run(serve_stdio(build_server(settings.load())))
