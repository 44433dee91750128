"""The suite's fixtures answer a client in both protocol eras, and nobody gets them without asking."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, types
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventMessage

from mcp_server import settings
from mcp_server.server import build_server
from mcp_server.tools import conformance

ARGUMENTS = {
    "test_elicitation": {"message": "Who are you?"},
    "test_sampling": {"prompt": "Say something."},
    "test_custom_header": {"where": "west"},
}
REFUSES = {"test_error_handling"}
LIVE_QUESTIONS = {name for name in conformance.TOOLS if name.startswith(("test_elicitation", "test_sampling"))}
QUESTIONS_AS_RESULTS = {name for name in conformance.TOOLS if "input_required" in name} | {"test_streaming_elicitation"}


async def _elicited(_context: Any, params: Any) -> types.ElicitResult:
    asked = params.requested_schema["properties"]
    said: dict[str, Any] = {name: True if part.get("type") == "boolean" else "blue" for name, part in asked.items()}
    return types.ElicitResult(action="accept", content=said)


async def _sampled(_context: Any, _params: Any) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="Paris"), model="m")


async def _roots(_context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///games")])  # type: ignore[arg-type]


def server() -> MCPServer[Any]:
    made: MCPServer[Any] = MCPServer("fixtures", version="0", log_level="ERROR")
    conformance.add_fixtures(made)
    return made


def client(mode: str) -> Client:
    return Client(
        server(),
        mode=mode,
        elicitation_callback=_elicited,
        sampling_callback=_sampled,
        list_roots_callback=_roots,
    )


def call(mode: str, name: str) -> types.CallToolResult:
    async def ask() -> types.CallToolResult:
        async with client(mode) as connected:
            return await connected.call_tool(name, ARGUMENTS.get(name, {}))

    return asyncio.run(ask())


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("name", sorted(set(conformance.TOOLS) - QUESTIONS_AS_RESULTS))
def test_a_client_of_the_older_era_gets_an_answer(name: str) -> None:
    result = call("legacy", name)
    assert result.is_error is (name in REFUSES)
    assert result.content


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("name", sorted(set(conformance.TOOLS) - LIVE_QUESTIONS))
def test_a_client_of_the_newer_era_gets_an_answer(name: str) -> None:
    result = call("auto", name)
    assert result.is_error is (name in REFUSES)
    assert result.content


def test_what_was_asked_in_two_rounds_comes_together() -> None:
    (text,) = call("auto", "test_input_required_result_multi_round").content
    assert isinstance(text, types.TextContent)
    assert text.text == "blue likes blue."


def test_a_client_that_cannot_sample_is_told_what_is_missing() -> None:
    async def ask() -> MCPError:
        async with Client(server()) as connected:
            with pytest.raises(MCPError) as refused:
                await connected.call_tool("test_missing_capability", {})
        return refused.value

    refused = asyncio.run(ask())
    assert refused.error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refused.error.data == {"requiredCapabilities": {"sampling": {}}}


@pytest.mark.parametrize("name", sorted(conformance.PROMPTS))
def test_a_prompt_has_a_message(name: str) -> None:
    given = {"arg1": "a", "arg2": "b"} if name.endswith("with_arguments") else {}
    given |= {"resourceUri": "test://x"} if name.endswith("embedded_resource") else {}

    async def ask() -> types.GetPromptResult:
        async with client("auto") as connected:
            return await connected.get_prompt(name, given)

    assert asyncio.run(ask()).messages


@pytest.mark.parametrize(
    "uri", ["test://static-text", "test://static-binary", "test://watched-resource", "test://template/1/data"]
)
def test_a_resource_can_be_read(uri: str) -> None:
    async def ask() -> types.ReadResourceResult:
        async with client("auto") as connected:
            return await connected.read_resource(uri)

    assert asyncio.run(ask()).contents


def test_the_picture_and_the_sound_are_what_they_claim() -> None:
    assert base64.b64decode(conformance.PNG).startswith(b"\x89PNG\r\n\x1a\n")
    assert base64.b64decode(conformance.WAV)[:4] + base64.b64decode(conformance.WAV)[8:12] == b"RIFFWAVE"


def test_a_stream_is_resumed_with_its_own_events_after_the_last_one_seen() -> None:
    async def resume(last: str) -> tuple[str | None, list[str | None]]:
        log, sent = conformance.ReplayLog(), []
        note = types.JSONRPCNotification(jsonrpc="2.0", method="notifications/message")
        for stream, message in (("a", None), ("b", note), ("a", note), ("a", note)):
            await log.store_event(stream, message)

        async def send(event: EventMessage) -> None:
            sent.append(event.event_id)

        return await log.replay_events_after(last, send), sent

    assert asyncio.run(resume("1")) == ("a", ["3", "4"])
    assert asyncio.run(resume("3")) == ("a", ["4"])
    assert asyncio.run(resume("9")) == (None, [])
    assert asyncio.run(resume("x")) == (None, [])


@pytest.mark.parametrize("asked", [True, False])
def test_nobody_gets_a_fixture_without_asking(asked: bool, tmp_path: Path) -> None:
    made = build_server(settings.load({"COURTSIDE_DATA_DIR": str(tmp_path)}), conformance=asked)
    names = {tool.name for tool in asyncio.run(made.list_tools())}
    assert bool(names & set(conformance.TOOLS)) is asked
