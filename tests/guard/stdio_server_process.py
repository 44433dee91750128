"""A server on standard input and output, with a tool that makes noise. Run as a script."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from mcp.server.mcpserver import MCPServer

from mcp_server import log
from mcp_server.guard.stdio import serve_stdio


def noisy_server() -> MCPServer[None]:
    server: MCPServer[None] = MCPServer("noisy", log_level="WARNING")

    @server.tool()
    async def echo(text: str) -> str:
        return text

    @server.tool()
    async def wait() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool()
    async def noise() -> str:
        print("noise from print")
        sys.stdout.write("noise without an end")
        sys.stdout.flush()
        os.write(1, b"noise from the descriptor\n")
        child = await asyncio.create_subprocess_exec("echo", "noise from a child")
        await child.wait()
        reading = await asyncio.create_subprocess_exec("cat", stdout=subprocess.PIPE)
        out, _ = await reading.communicate()
        return f"a child could read {len(out)} bytes of the wire"

    return server


if __name__ == "__main__":
    log.configure("WARNING")
    asyncio.run(serve_stdio(noisy_server()))
