"""What a client does: start the server as one would, and call it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent

from mcp_server import settings
from mcp_server.errors import BadConfiguration, CourtsideError


def server_parameters(environment: Mapping[str, str] | None = None, *options: str) -> StdioServerParameters:
    """How a client starts this installation's server.

    Args:
        environment: added to this process's own.
    """
    return StdioServerParameters(
        command=sys.executable,
        args=["-P", "-m", "mcp_server", "serve", *options],
        env={**settings.environment(), **(environment or {})},
    )


@asynccontextmanager
async def connected(environment: Mapping[str, str] | None = None, *options: str) -> AsyncIterator[Client]:
    """A client connected over stdio to a server of its own.

    Raises:
        BadConfiguration: the server didn't come up; what it said is on standard error.
    """
    failure: CourtsideError | None = None
    try:
        async with Client(server_parameters(environment, *options)) as client:
            try:
                yield client
            except CourtsideError as raised:
                # Past the transport's task group, which would wrap it.
                failure = raised
    except (MCPError, ExceptionGroup) as ended:
        if failure is None:
            raise BadConfiguration(
                "The server ended or didn't come up.", hint="Its last lines are above; courtside doctor says more."
            ) from ended
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True)
class Called:
    """A tool's text and whether it failed."""

    text: str
    failed: bool
    structure: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()


def called(result: CallToolResult) -> Called:
    """The parts of a result that a person or a script reads; pictures as base64 PNG."""
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    pictures = tuple(block.data for block in result.content if block.type == "image")
    return Called("\n".join(texts), bool(result.is_error), dict(result.structured_content or {}), pictures)


async def call_once(tool: str, arguments: dict[str, Any]) -> Called:
    """Start a server, call one tool, end the server."""
    async with connected() as client:
        return called(await client.call_tool(tool, arguments))


async def token_bill() -> list[tuple[str, int]]:
    """What each tool, and the instructions, cost in a conversation: bytes divided by 4, as clients estimate."""
    async with connected() as client:
        listed = await client.list_tools()
        rows = [
            (tool.name, round(len(tool.model_dump_json(by_alias=True, exclude_none=True)) / 4)) for tool in listed.tools
        ]
        return [*rows, ("(instructions)", round(len(client.instructions or "") / 4))]
