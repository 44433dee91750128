"""An echo over the bare SDK, or the same echo behind the guard: `echo_server.py bare|guarded stdio|PORT`.

Behind the guard there is a second one, which stores a prediction's record before it answers.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any


def bare(transport: str) -> None:
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("echo", log_level="WARNING")

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    if transport == "stdio":
        server.run()
        return
    import uvicorn

    app = server.streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(transport), log_level="warning", http="h11", loop="asyncio")


def guarded(transport: str) -> None:
    from mcp_server import settings
    from mcp_server.guard.spec import READ_ONLY
    from mcp_server.server import build_server
    from mcp_server.tools import monitoring
    from mcp_server.workflows.reply import Reply

    class Echoed(Reply):
        result: str

        def lines(self) -> list[str]:
            return [self.result]

    async def echo(app: Any, call: Any, text: str) -> Any:
        """Say it again."""
        return Echoed(result=text)

    async def echo_stored(app: Any, call: Any, text: str) -> Any:
        """Say it again, once a record is on the disk."""
        await (await app.storage()).predictions.append([prediction_record(app.clock.now())])
        return Echoed(result=text)

    for function in (echo, echo_stored):
        function.__annotations__["return"] = Echoed
        monitoring.toolset.tool(title="Echo", scope="read", hints=READ_ONLY)(function)
    loaded = settings.load(
        {}, data_dir=Path(tempfile.mkdtemp()), rate_per_second=100_000.0, rate_burst=100_000, profile="test"
    )
    server = build_server(loaded)
    if transport == "stdio":
        from mcp_server.guard.stdio import serve_stdio

        asyncio.run(serve_stdio(server))
        return
    from mcp_server.web import serve_http

    asyncio.run(serve_http(server, loaded, "127.0.0.1", int(transport), insecure_loopback=True))


def prediction_record(now: datetime) -> Any:
    """What `predict` stores for one row of the benchmark's table."""
    from mcp_server.storage.ids import new_id
    from mcp_server.storage.records import PredictionRecord

    return PredictionRecord(
        id=new_id("p", now),
        at=now,
        model="y",
        version=1,
        digest="sha256:0",
        caller="local",
        request_id="r",
        features={"x": 3, "z": 2, "u": 1.5, "v": "b"},
        value="1",
        probability=0.5,
    )


if __name__ == "__main__":
    {"bare": bare, "guarded": guarded}[sys.argv[1]](sys.argv[2])
