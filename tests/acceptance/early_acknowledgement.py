"""The control: a server whose prediction log acknowledges before it commits."""

from __future__ import annotations

import asyncio

from mcp_server import settings
from mcp_server.guard.stdio import serve_stdio
from mcp_server.server import build_server
from mcp_server.workflows.app import App

opened = App.storage


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


App.storage = storage
asyncio.run(serve_stdio(build_server(settings.load())))
