"""Admission: who calls, may they, not too often, once; then one log line, whatever happens.

The one adapter to the SDK's middleware, whose signature may change within 2.x. It wraps every request of both
protocol eras: tool calls, resources, prompts, completions, and the lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult
from opentelemetry import trace
from pydantic import ValidationError

from mcp_server import log, telemetry
from mcp_server.context import Caller, Clock
from mcp_server.errors import CourtsideError, Forbidden, InvalidInput, Unauthenticated
from mcp_server.guard.calls import LOCAL, CurrentCall, reset_current, set_current
from mcp_server.guard.shaping import as_data, refusal, typed
from mcp_server.guard.spec import ToolSpec
from mcp_server.guard.text import bound_json, clean, clean_json, cut
from mcp_server.guard.throttle import Throttle

INVALID_PARAMS, REFUSED, INTERNAL = -32602, -32000, -32603
BUCKETS = {
    "resources/read": "resources",
    "prompts/get": "prompts",
    "completion/complete": "completions",
    "tools/list": "lists",
    "resources/list": "lists",
    "resources/templates/list": "lists",
    "prompts/list": "lists",
    "initialize": "handshake",
    "server/discover": "handshake",
    "ping": "handshake",
}
HANDSHAKE = "handshake"
# What a connection needs to begin, and what isn't ours: bounded whatever the tools' own rate is.
HANDSHAKE_RATE, HANDSHAKE_BURST = 50.0, 200
LONGEST_ID = 128
MOST_READ = 64_000
MOST_ERROR = 4_000

Next = Callable[[Any], Awaitable[Any]]
Answer = TypeVar("Answer")


class Admission:
    """The middleware.

    Args:
        specs: the tools of ours by name, for their scopes.
        throttle: the rate of each caller and tool.
        clock: durations are on its monotonic side.
    """

    def __init__(self, specs: Mapping[str, ToolSpec], throttle: Throttle, clock: Clock) -> None:
        self._specs = specs
        self._throttle = throttle
        self._handshakes = Throttle(
            rate=HANDSHAKE_RATE, burst=HANDSHAKE_BURST, queue_seconds=2.0, queue_calls=100, clock=clock
        )
        self._clock = clock
        self._running: set[tuple[int, Any]] = set()
        # Bound once: a logger that isn't would be put together again for each line.
        self._log = log.get("courtside.call").bind()

    async def __call__(self, ctx: Any, call_next: Next) -> Any:
        if ctx.request_id is None:
            return await call_next(ctx)
        params = ctx.params or {}
        # Labels and log fields hold names that we know: anything else is a text of the client's.
        method = ctx.method if ctx.method in BUCKETS or ctx.method == "tools/call" else "other"
        tool = str(params.get("name", ""))[:128] if ctx.method == "tools/call" else ""
        current = CurrentCall(caller=_caller(ctx), trace_id=_trace_id())
        return await self._observed(current, method, tool, lambda: self._admitted(ctx, call_next, current, tool))

    async def alone(self, caller: Caller, tool: str, run: Callable[[], Awaitable[CallToolResult]]) -> CallToolResult:
        """Admit a tool call that no client sent: scope, throttle and log line as for any other; never raises.

        Args:
            caller: for whom it's made.
            run: the call, through the guard's execution.
        """
        current = CurrentCall(caller=caller)

        async def admitted() -> CallToolResult:
            try:
                self.check_scope(tool, caller)
                await self._take("tools/call", tool, caller)
            except CourtsideError as error:
                current.outcome = error.code
                return refusal(error, current.request_id)
            result: CallToolResult = _outgoing("tools/call", await run(), current)
            return result

        return await self._observed(current, "tools/call", tool, admitted)

    async def _observed(
        self, current: CurrentCall, method: str, tool: str, serve: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Serve a call with its name on every log line, and one line, a count and a time at its end."""
        token = set_current(current)
        started = self._clock.monotonic()
        structlog.contextvars.bind_contextvars(
            request=current.request_id, caller=current.caller.id, method=method, **({"tool": tool} if tool else {})
        )
        if current.trace_id:
            structlog.contextvars.bind_contextvars(trace=current.trace_id)
        try:
            with telemetry.running():
                return await serve()
        except asyncio.CancelledError:
            current.outcome = "cancelled"
            raise
        finally:
            seconds = self._clock.monotonic() - started
            label = tool if tool in self._specs else method
            telemetry.record_call(label, current.outcome, seconds, reference=current.request_id)
            self._log.info("call", outcome=current.outcome, duration_ms=round(seconds * 1000, 3))
            structlog.contextvars.unbind_contextvars("request", "caller", "method", "tool", "trace")
            reset_current(token)

    async def _admitted(self, ctx: Any, call_next: Next, current: CurrentCall, tool: str) -> Any:
        # The SDK makes a session object for each request; the connection is what they share.
        identity = (id(getattr(ctx.session, "_connection", ctx.session)), ctx.request_id)
        try:
            self._check_id(identity, ctx.request_id)
            self._running.add(identity)
        except CourtsideError as error:
            current.outcome = error.code
            if ctx.method == "tools/call":
                return refusal(error, current.request_id)
            raise _protocol_error(error, current.request_id) from None
        try:
            return await self._served(ctx, call_next, current, tool)
        finally:
            self._running.discard(identity)

    async def _served(self, ctx: Any, call_next: Next, current: CurrentCall, tool: str) -> Any:
        try:
            self.check_scope(tool, current.caller)
            await self._take(ctx.method, tool, current.caller)
        except CourtsideError as error:
            current.outcome = error.code
            if ctx.method == "tools/call":
                return refusal(error, current.request_id)
            raise _protocol_error(error, current.request_id) from None
        try:
            result = await call_next(ctx)
        except MCPError as error:
            current.outcome = f"rpc {error.error.code}"
            raise MCPError(
                code=error.error.code,
                message=cut(clean(error.error.message), 500),
                data=bound_json(clean_json(error.error.data), MOST_ERROR),
            ) from None
        except ValidationError:
            wrong = InvalidInput(
                "The request's parameters aren't of the protocol's form.", hint="See the protocol's schema."
            )
            current.outcome = wrong.code
            raise _protocol_error(wrong, current.request_id) from None
        except Exception as error:  # noqa: BLE001 - the guard's edge
            shaped = typed(error, current.request_id)
            current.outcome = shaped.code
            raise _protocol_error(shaped, current.request_id) from None
        return _outgoing(ctx.method, result, current)

    def _check_id(self, identity: tuple[int, Any], request_id: Any) -> None:
        if isinstance(request_id, str) and len(request_id) > LONGEST_ID:
            raise InvalidInput(
                f"The request id is longer than {LONGEST_ID} characters.", hint="Use a short id or a number."
            )
        if identity in self._running:
            raise InvalidInput(
                "A request with this id is still running on this connection.", hint="Give each request its own id."
            )

    def check_scope(self, tool: str, caller: Caller) -> None:
        """Raise Unauthenticated or Forbidden where the caller may not call the tool."""
        if caller.id == "anonymous":
            raise Unauthenticated("No valid API key was given.", hint="Send Authorization: Bearer <key>.")
        needed = self._specs[tool].scope if tool in self._specs else "read"
        if needed not in caller.scopes:
            raise Forbidden(
                f"This needs the scope {needed}, which {caller.id} doesn't have.",
                hint="Use a key whose role has it, or ask whoever runs this server.",
                details={"scope": needed},
            )

    async def _take(self, method: str, tool: str, caller: Caller) -> None:
        if method == "tools/call":
            await self._throttle.take(caller.id, tool if tool in self._specs else "unknown tool")
        else:
            bucket = BUCKETS.get(method, HANDSHAKE)
            await (self._handshakes if bucket == HANDSHAKE else self._throttle).take(caller.id, bucket)


def _caller(ctx: Any) -> Caller:
    """Stdio and in-process are the local user; HTTP requests carry what the web guard established."""
    request = ctx.request
    if request is None:
        return LOCAL
    caller = getattr(getattr(request, "state", None), "caller", None)
    return caller if isinstance(caller, Caller) else Caller("anonymous", frozenset())


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def _protocol_error(error: CourtsideError, reference: str) -> MCPError:
    code = {"E_ARG": INVALID_PARAMS, "E_NOT_FOUND": INVALID_PARAMS, "E_INTERNAL": INTERNAL}.get(error.code, REFUSED)
    data, names = as_data(error, reference)
    if "uri" in error.details:
        data["uri"] = clean(str(error.details["uri"]))  # where the protocol wants a missing resource named
    if names:
        data["untrusted"] = names
    return MCPError(code=code, message=f"{data['code']}: {data['message']} {data['hint']}".strip(), data=data)


def _outgoing(method: str, result: Any, current: CurrentCall) -> Any:
    if method == "tools/call":
        failed = result.is_error if isinstance(result, CallToolResult) else bool((result or {}).get("isError"))
        if failed and current.outcome == "ok":
            current.outcome = "tool_error"
        return result
    if method in ("resources/read", "prompts/get", "completion/complete") and isinstance(result, dict):
        cleaned = clean_json(result)
        # A file as base64 can't be cut; its reader bounds it.
        blobs = any("blob" in content for content in cleaned.get("contents", []))
        return cleaned if blobs else bound_json(cleaned, MOST_READ)
    return result
