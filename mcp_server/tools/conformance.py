"""The fixtures of the official conformance suite, behind `courtside serve --conformance`.

The suite calls tools, resources and prompts by names of its own. They are registered on the same application, so
each of its calls passes the same guard as every other call. Nothing here is registered without that flag.

Source: @modelcontextprotocol/conformance 0.2.0-alpha.12, `--requirements 2025-11-25` and `2026-07-28`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from mcp import MCPError, types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from pydantic import Field

from mcp_server.errors import CourtsideError

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
"""One red pixel."""
WAV = "UklGRigAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQQAAAAAAAAA"
"""Two silent 16-bit samples at 8 kHz."""

HINTS = types.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
PAUSE = 0.05  # seconds between messages, as the suite asks: it tells a stream from one answer
RECONNECT_MS = 100
Asked = str | types.InputRequiredResult

CONTACT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class ReplayLog(EventStore):
    """The events of the streams that are open, in memory, so that a client can resume one.

    For conformance only: it grows with every event and belongs to one process.
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = int(last_event_id) if last_event_id.isdecimal() else 0
        if not 0 < last <= len(self._events):
            return None
        stream = self._events[last - 1][0]
        for number, (owner, message) in enumerate(self._events[last:], start=last + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def add_fixtures(server: MCPServer[Any]) -> None:
    """Register everything that the suite names, and let its HTTP application resume streams.

    Args:
        server: the application, before its HTTP application is made.
    """
    for name, (tool, description) in TOOLS.items():
        server.add_tool(
            tool, name, title=description, description=description + ".", annotations=HINTS, structured_output=False
        )
    # add_tool derives the schema from the function; this scenario is about keywords that no function yields.
    contact_tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    if contact_tool is not None:
        contact_tool.parameters = CONTACT_SCHEMA
    _add_resources(server)
    for name, (prompt, description) in PROMPTS.items():
        server.prompt(name, description=description)(prompt)
    _add_handlers(server)
    resuming = functools.partial(server.streamable_http_app, event_store=ReplayLog(), retry_interval=RECONNECT_MS)
    server.streamable_http_app = resuming  # type: ignore[method-assign]


# Content ---------------------------------------------------------------------------------------------------------


def _text_resource(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=contents)


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def plain_text() -> str:
    return "This is a simple text response for testing."


def image() -> list[types.ImageContent]:
    return [_image()]


def audio() -> list[types.AudioContent]:
    return [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


def embedded_resource() -> list[types.EmbeddedResource]:
    return [_text_resource("test://embedded-resource", "This is an embedded resource content.")]


def mixed() -> list[types.ContentBlock]:
    data = _text_resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return [types.TextContent(type="text", text="Multiple content types test:"), _image(), data]


def failure() -> str:
    raise CourtsideError("This tool intentionally returns an error for testing")


def contact() -> str:
    return "The contact is accepted."


def region(where: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    return f"Region: {where}"


# Notifications ---------------------------------------------------------------------------------------------------


async def logging(context: Context[Any, Any]) -> str:
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.log("info", message)
        await asyncio.sleep(PAUSE)
    return "Three messages were logged."


async def progress(context: Context[Any, Any]) -> str:
    for done in (0, 50, 100):
        await context.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(PAUSE)
    return "Progress was reported."


async def reconnection(context: Context[Any, Any]) -> str:
    await context.close_sse_stream()
    await asyncio.sleep(2 * RECONNECT_MS / 1000)
    return "Reconnection test completed."


async def tools_changed(context: Context[Any, Any]) -> str:
    await context.notify_tools_changed()
    return "Listeners were told that the tools changed."


async def prompts_changed(context: Context[Any, Any]) -> str:
    await context.notify_prompts_changed()
    return "Listeners were told that the prompts changed."


# Questions in mid-call, up to 2025-11-25 -------------------------------------------------------------------------


def _form(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _titled(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"const": const, "title": title} for const, title in pairs]


async def _elicit(context: Context[Any, Any], message: str, schema: dict[str, Any]) -> str:
    answer = await context.session.elicit_form(message, schema, related_request_id=context.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


async def elicitation(message: str, context: Context[Any, Any]) -> str:
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return "User response: " + await _elicit(context, message, _form(properties))


async def elicitation_defaults(context: Context[Any, Any]) -> str:
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    schema = {"type": "object", "properties": properties}
    return "Elicitation completed: " + await _elicit(context, "Please review the profile", schema)


async def elicitation_choices(context: Context[Any, Any]) -> str:
    options = ["option1", "option2", "option3"]
    titled = _titled(("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option"))
    properties: dict[str, Any] = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return "Elicitation completed: " + await _elicit(context, "Please choose", _form(properties))


async def sampling(prompt: str, context: Context[Any, Any]) -> str:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = await context.session.create_message([message], max_tokens=100, related_request_id=context.request_id)
    return f"LLM response: {answer.content.text if isinstance(answer.content, types.TextContent) else ''}"


# Questions as a result, from 2026-07-28 --------------------------------------------------------------------------


def _question(message: str, properties: Mapping[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=_form(properties))
    )


def _completion(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def _required(requests: Mapping[str, types.InputRequest], state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=dict(requests), request_state=state)


def _accepted(context: Context[Any, Any], key: str) -> dict[str, Any] | None:
    """The form that the person filled in, or None where there's none to be had."""
    answer = (context.input_responses or {}).get(key)
    return answer.content if isinstance(answer, types.ElicitResult) and answer.action == "accept" else None


NAME = {"user_name": _question("What is your name?", {"name": {"type": "string"}})}
CONFIRM = {"confirm": _question("Please confirm", {"ok": {"type": "boolean"}})}
ROOTS: dict[str, types.InputRequest] = {"client_roots": types.ListRootsRequest(params=types.RequestParams())}


async def ask_name(context: Context[Any, Any]) -> Asked:
    form = _accepted(context, "user_name")
    return _required(NAME) if form is None else f"Hello, {form.get('name')}!"


async def ask_model(context: Context[Any, Any]) -> Asked:
    answer = (context.input_responses or {}).get("capital_question")
    if not isinstance(answer, types.CreateMessageResult):
        return _required({"capital_question": _completion("What is the capital of France?", 100)})
    return f"LLM response: {answer.content.text if isinstance(answer.content, types.TextContent) else ''}"


async def ask_roots(context: Context[Any, Any]) -> Asked:
    answer = (context.input_responses or {}).get("client_roots")
    if not isinstance(answer, types.ListRootsResult):
        return _required(ROOTS)
    return "Roots: " + ", ".join(str(root.uri) for root in answer.roots)


async def keep_state(context: Context[Any, Any]) -> Asked:
    form = _accepted(context, "confirm")
    # The SDK seals the state and refuses one that was altered, so what comes back here is ours.
    if form is None or context.request_state != "awaiting confirmation":
        return _required(CONFIRM, "awaiting confirmation")
    return "state-ok"


async def ask_three(context: Context[Any, Any]) -> Asked:
    requests: dict[str, types.InputRequest] = {**NAME, "greeting": _completion("Generate a greeting", 50), **ROOTS}
    if context.request_state != "three questions" or set(requests) - set(context.input_responses or {}):
        return _required(requests, "three questions")
    return "All three questions were answered."


async def ask_twice(context: Context[Any, Any]) -> Asked:
    step, _, name = (context.request_state or "").partition(":")
    if step == "named" and (form := _accepted(context, "step2")) is not None:
        return f"{name} likes {form.get('color')}."
    if step == "started" and (form := _accepted(context, "step1")) is not None:
        name = str(form.get("name"))
        question = _question("Step 2: What is your favorite color?", {"color": {"type": "string"}})
        return _required({"step2": question}, f"named:{name}")
    return _required({"step1": _question("Step 1: What is your name?", {"name": {"type": "string"}})}, "started")


async def ask_as_able(context: Context[Any, Any]) -> Asked:
    if context.input_responses:
        return "Answered."
    able = context.client_capabilities or types.ClientCapabilities()
    requests: dict[str, types.InputRequest] = {}
    if able.elicitation is not None:
        requests |= NAME
    if able.sampling is not None:
        requests["greeting"] = _completion("Generate a greeting", 50)
    if able.roots is not None:
        requests |= ROOTS
    return _required(requests) if requests else "The client declared nothing that could be asked."


async def needs_sampling(context: Context[Any, Any]) -> str:
    able = context.client_capabilities
    if able is None or able.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs the client's sampling capability.",
            data=needed.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return "The client can sample."


Tool = tuple[Callable[..., Any], str]
TOOLS: dict[str, Tool] = {
    "test_simple_text": (plain_text, "Answer with text"),
    "test_image_content": (image, "Answer with an image"),
    "test_audio_content": (audio, "Answer with sound"),
    "test_embedded_resource": (embedded_resource, "Answer with a resource"),
    "test_multiple_content_types": (mixed, "Answer with text, image and resource"),
    "test_error_handling": (failure, "Fail on purpose"),
    "test_tool_with_logging": (logging, "Log three messages"),
    "test_logging_tool": (logging, "Log only where the request asks for it"),
    "test_tool_with_progress": (progress, "Report progress"),
    "test_reconnection": (reconnection, "Close the stream in mid-call"),
    "test_trigger_tool_change": (tools_changed, "Announce a change of the tools"),
    "test_trigger_prompt_change": (prompts_changed, "Announce a change of the prompts"),
    "test_elicitation": (elicitation, "Ask the person a question"),
    "test_elicitation_sep1034_defaults": (elicitation_defaults, "Ask with default values"),
    "test_elicitation_sep1330_enums": (elicitation_choices, "Ask with every kind of choice"),
    "test_sampling": (sampling, "Ask the client's model"),
    "test_streaming_elicitation": (ask_name, "Ask without a request on the stream"),
    "test_input_required_result_elicitation": (ask_name, "Ask the person as a result"),
    "test_input_required_result_sampling": (ask_model, "Ask the model as a result"),
    "test_input_required_result_list_roots": (ask_roots, "Ask for the roots as a result"),
    "test_input_required_result_request_state": (keep_state, "Keep state between two rounds"),
    "test_input_required_result_tampered_state": (keep_state, "Refuse state that was altered"),
    "test_input_required_result_multiple_inputs": (ask_three, "Ask three things at once"),
    "test_input_required_result_multi_round": (ask_twice, "Ask in two rounds"),
    "test_input_required_result_capabilities": (ask_as_able, "Ask only what the client can answer"),
    "test_missing_capability": (needs_sampling, "Refuse a client that can't sample"),
    "test_custom_header": (region, "Mirror an argument in a header"),
    "json_schema_2020_12_tool": (contact, "Tool with JSON Schema 2020-12 features"),
}


# Prompts ---------------------------------------------------------------------------------------------------------


def _says(*blocks: types.ContentBlock | str) -> list[dict[str, Any]]:
    contents = [types.TextContent(type="text", text=block) if isinstance(block, str) else block for block in blocks]
    return [{"role": "user", "content": content} for content in contents]


def fixed_prompt() -> list[dict[str, Any]]:
    return _says("This is a simple prompt for testing.")


def prompt_with_arguments(
    arg1: Annotated[str, Field(description="First test argument")],
    arg2: Annotated[str, Field(description="Second test argument")],
) -> list[dict[str, Any]]:
    return _says(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")


def prompt_with_resource(
    resourceUri: Annotated[str, Field(description="URI of the resource to embed")],  # noqa: N803 - the suite's name
) -> list[dict[str, Any]]:
    resource = _text_resource(resourceUri, "Embedded resource content for testing.")
    return _says(resource, "Please process the embedded resource above.")


def prompt_with_image() -> list[dict[str, Any]]:
    return _says(_image(), "Please analyze the image above.")


async def prompt_that_asks(context: Context[Any, Any]) -> Any:
    form = _accepted(context, "user_context")
    if form is None:
        question = _question("What context should the prompt use?", {"context": {"type": "string"}})
        return _required({"user_context": question})
    return _says(f"Prompt with context: {form.get('context')}")


PROMPTS: dict[str, tuple[Callable[..., Any], str]] = {
    "test_simple_prompt": (fixed_prompt, "A prompt without arguments."),
    "test_prompt_with_arguments": (prompt_with_arguments, "A prompt with two arguments."),
    "test_prompt_with_embedded_resource": (prompt_with_resource, "A prompt that embeds a resource."),
    "test_prompt_with_image": (prompt_with_image, "A prompt that holds an image."),
    "test_input_required_result_prompt": (prompt_that_asks, "A prompt that asks the person first."),
}


# Resources and the requests that only older clients send -----------------------------------------------------------


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", name="static-text", description="Fixed text.", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", name="static-binary", description="Fixed bytes.", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(PNG)

    @server.resource("test://watched-resource", name="watched", description="A resource to watch.")
    def watched() -> str:
        return "Watched resource content."

    @server.resource("test://template/{id}/data", name="template", mime_type="application/json")
    def template(id: str) -> str:
        """Data of one id."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


async def _acknowledge(_context: object, _params: object) -> types.EmptyResult:
    return types.EmptyResult()


async def _complete_nothing(_context: object, _params: object) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


def _add_handlers(server: MCPServer[Any]) -> None:
    lowlevel = server._lowlevel_server
    lowlevel.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _acknowledge)
    lowlevel.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _acknowledge)
    lowlevel.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _acknowledge)
    if lowlevel.get_request_handler("completion/complete") is None:
        lowlevel.add_request_handler("completion/complete", types.CompleteRequestParams, _complete_nothing)
