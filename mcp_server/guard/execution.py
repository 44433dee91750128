"""Execution of a tool call, where exceptions are still exceptions.

The order: strict arguments, idempotency, deadline, concurrency limit, retry, the tool, error shaping, text
cleaned and bounded. Identity, scope and throttle come before (`admission`), the log line after.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, InputRequiredResult

from mcp_server import telemetry
from mcp_server.context import CallContext, no_progress
from mcp_server.errors import Busy, CourtsideError, NotFound, Transient
from mcp_server.guard.arguments import validated
from mcp_server.guard.calls import CurrentCall, current_call
from mcp_server.guard.shaping import answered, refusal, rendered, typed
from mcp_server.guard.spec import ToolSpec
from mcp_server.retry import retry_with_backoff
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import Reply

if TYPE_CHECKING:
    from mcp_server.storage import Storage

Unguarded = Callable[[], Awaitable[CallToolResult | InputRequiredResult]]

RETRIES = 2
FIRST_DELAY = 0.05


class Slots:
    """At most `running` calls at once; at most `waiting` more wait their turn, in order."""

    def __init__(self, running: int, waiting: int) -> None:
        self._semaphore = asyncio.Semaphore(running)
        self._room = waiting

    async def __aenter__(self) -> None:
        if not self._semaphore.locked():
            await self._semaphore.acquire()
            return
        if self._room <= 0:
            raise Busy(
                "Too many calls are running; nothing was started.", hint="Call again in a moment.", retry_after=1.0
            )
        self._room -= 1
        try:
            await self._semaphore.acquire()
        finally:
            self._room += 1

    async def __aexit__(self, *_: object) -> None:
        self._semaphore.release()


class Execution:
    """Runs tool calls for one server.

    Args:
        app: what the tools work with.
        specs: our tools by name.
        foreign: the names of tools that are registered with the SDK alone.
        hidden: why a tool of some name is switched off; None where it isn't known.
    """

    def __init__(
        self,
        app: App,
        specs: Mapping[str, ToolSpec],
        foreign: Callable[[], Collection[str]],
        hidden: Callable[[str], CourtsideError | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._hidden = hidden
        self._foreign_tools = foreign
        self._specs = specs
        self._slots = Slots(app.settings.concurrency, app.settings.queue_calls)
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        # One layer, few attempts: clients retry too.
        self._repeated = retry_with_backoff(
            max_retries=RETRIES,
            base_delay=FIRST_DELAY,
            exceptions=(Transient,),
            sleep=lambda seconds: self._sleep(seconds),
        )(self._repeatable)

    async def run(
        self, name: str, arguments: dict[str, Any], context: Any, unguarded: Unguarded
    ) -> CallToolResult | InputRequiredResult:
        """Run one call; every failure but a protocol error comes back as a shaped result.

        Args:
            unguarded: calls the tool through the SDK; used for tools without a `ToolSpec` of ours.
        """
        current = current_call()
        spec = self._specs.get(name)
        try:
            seconds = (spec.seconds if spec else None) or self._app.settings.tool_seconds
            async with asyncio.timeout(seconds):
                if spec is None:
                    if name not in (foreign := self._foreign_tools()):
                        raise unknown_tool(name, [*self._specs, *foreign], self._hidden(name))
                    return await self._foreign(unguarded)
                return await self._ours(spec, arguments, context, current, seconds)
        except MCPError:
            raise
        except Exception as error:  # noqa: BLE001 - the guard's edge: nothing passes it unshaped
            shaped = typed(error, current.request_id)
            current.outcome = shaped.code
            return refusal(shaped, current.request_id)

    async def _foreign(self, unguarded: Unguarded) -> CallToolResult | InputRequiredResult:
        async with self._slots:
            return await unguarded()

    async def _ours(
        self, spec: ToolSpec, arguments: dict[str, Any], context: Any, current: CurrentCall, seconds: float
    ) -> CallToolResult:
        values = validated(spec.arguments, arguments)
        key = values.pop("idempotency_key", None)
        call = CallContext(
            caller=current.caller,
            request_id=current.request_id,
            tool=spec.name,
            clock=self._app.clock,
            key=key,
            arguments_digest=_digest(arguments) if key else "",
            deadline=self._app.clock.monotonic() + seconds,
            trace_id=current.trace_id,
            progress=context.report_progress if context is not None else no_progress,
        )
        if key is None:
            return answered(await self._attempts(spec, call, values))
        return await self._once(spec, call, values)

    async def _once(self, spec: ToolSpec, call: CallContext, values: dict[str, Any]) -> CallToolResult:
        """At most one effect for a key: a repeated call gets the first answer, a running one is refused."""
        assert call.key is not None
        from mcp_server.storage.in_flight import Replayed, in_flight

        storage = await self._app.storage()
        with in_flight(call.caller.id, call.tool, call.key):
            stored = await self._stored(storage, call, call.key)
            if stored is None:
                try:
                    return answered(await self._attempts(spec, call, values))
                except Replayed as lost:
                    # Another process committed the same key first; ours was rolled back whole.
                    stored = lost.answer
        return rendered(spec.answer.model_validate(stored), stored, replayed=True)

    async def _stored(self, storage: Storage, call: CallContext, key: str) -> dict[str, Any] | None:
        from mcp_server.storage import idempotency

        async with storage.database.reading() as tx:
            return await idempotency.find(
                tx, call.caller.id, call.tool, key, call.arguments_digest, self._app.clock.now()
            )

    async def _attempts(self, spec: ToolSpec, call: CallContext, values: dict[str, Any]) -> Reply:
        if spec.hints.idempotent or call.key:
            return await self._repeated(spec, call, values, [])
        return await self._attempt(spec, call, values)

    async def _repeatable(self, spec: ToolSpec, call: CallContext, values: dict[str, Any], before: list[None]) -> Reply:
        """One of several attempts; `before` grows with each."""
        if before:
            telemetry.record_retry(spec.name)
        before.append(None)
        return await self._attempt(spec, call, values)

    async def _attempt(self, spec: ToolSpec, call: CallContext, values: dict[str, Any]) -> Reply:
        async with self._slots:
            return await spec.run(self._app, call, **values)


def unknown_tool(name: str, known: list[str], hidden: CourtsideError | None = None) -> CourtsideError:
    if hidden is not None:
        return hidden
    near = difflib.get_close_matches(name[:64], known, n=1)
    return NotFound(
        "There is no tool of that name." + (f" Did you mean {near[0]}?" if near else ""),
        hint="tools/list has every tool that can be called here.",
    )


def _digest(arguments: Mapping[str, Any]) -> str:
    """SHA-256 of the arguments without the key, independent of their order."""
    rest = {name: value for name, value in arguments.items() if name != "idempotency_key"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
