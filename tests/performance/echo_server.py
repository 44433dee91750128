"""An echo over the bare SDK, or the same echo behind the guard: `echo_server.py bare|guarded stdio|PORT`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
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

    echo.__annotations__["return"] = Echoed
    monitoring.toolset.tool(title="Echo", scope="read", hints=READ_ONLY)(echo)
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


if __name__ == "__main__":
    {"bare": bare, "guarded": guarded}[sys.argv[1]](sys.argv[2])
