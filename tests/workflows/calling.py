"""A tool called for somebody through a server that is in this process."""

from __future__ import annotations

from typing import Any

from mcp_server.context import Caller
from mcp_server.guard.calls import LOCAL
from mcp_server.guard.server import GuardedServer


async def call(server: GuardedServer, tool: str, caller: Caller = LOCAL, /, **arguments: Any) -> dict[str, Any]:
    result = await server.call_for(caller, tool, arguments)
    assert result.structured_content is not None
    return {**result.structured_content, "text": result.content[0].text}  # type: ignore[union-attr]
