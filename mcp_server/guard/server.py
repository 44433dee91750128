"""The SDK's server, subclassed once: tools as data, every call through the guard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, UnexpectedResourceError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.inbound import X_MCP_HEADER_KEY
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations

from mcp_server import log
from mcp_server.context import Caller
from mcp_server.errors import CourtsideError, InvalidInput, NotFound
from mcp_server.guard.admission import Admission
from mcp_server.guard.arguments import validated
from mcp_server.guard.execution import Execution, unknown_tool
from mcp_server.guard.spec import ToolSpec
from mcp_server.guard.throttle import Throttle
from mcp_server.workflows.app import App


class GuardedServer(MCPServer[App]):
    """An MCP server whose every call is admitted, executed, shaped and logged by the guard.

    Args:
        app: what the tools work with.
        specs: the tools, in the order in which they are listed.
        hidden: what the call of a tool that is switched off is answered, by its name; None where it isn't known.
        options: further options of the SDK's server (instructions, lifespan...).
    """

    def __init__(
        self,
        app: App,
        specs: Iterable[ToolSpec],
        *,
        hidden: Callable[[str], CourtsideError | None] = lambda _: None,
        **options: Any,
    ) -> None:
        self.app = app
        self._hidden = hidden
        self.specs = {spec.name: spec for spec in specs}
        self._mirrored = {name: spec.input_schema for name, spec in self.specs.items() if _mirrors(spec.input_schema)}
        settings = app.settings
        throttle = Throttle(
            rate=settings.rate_per_second,
            burst=settings.rate_burst,
            queue_seconds=settings.queue_seconds,
            queue_calls=settings.queue_calls,
            clock=app.clock,
        )
        self._admission = Admission(self.specs, throttle, app.clock)
        app.refuse_call = self._refuse_call
        # The SDK would import rich for logs that go through ours.
        with log.hidden("rich"):
            super().__init__(
                tools=[_registered(spec) for spec in self.specs.values()],
                middleware=[self._admission],
                **options,
            )
        self.execution = Execution(
            app, self.specs, lambda: [tool.name for tool in self._tool_manager.list_tools()], hidden
        )

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> CallToolResult | InputRequiredResult:
        """Run a tool through the guard's execution; also what nested and background calls reach."""

        async def unguarded() -> CallToolResult | InputRequiredResult:
            return await super(GuardedServer, self).call_tool(name, arguments, context)

        return await self.execution.run(name, arguments, context, unguarded)

    async def call_for(self, caller: Caller, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool for somebody who isn't there, such as at a schedule's time; a failure is a result too."""

        async def run() -> CallToolResult:
            result = await self.call_tool(name, arguments)
            assert isinstance(result, CallToolResult)  # ours never ask for input
            return result

        return await self._admission.alone(caller, name, run)

    def _refuse_call(self, caller: Caller, name: str, arguments: Mapping[str, Any]) -> None:
        spec = self.specs.get(name)
        if spec is None:
            raise unknown_tool(name, list(self.specs), self._hidden(name))
        self._admission.check_scope(name, caller)
        validated(spec.arguments, dict(arguments))

    def _tool_input_schema(self, name: str) -> dict[str, Any] | None:
        # The SDK looks here, at each call over HTTP, for arguments that a header repeats, and walks the whole schema
        # for that, twice. Which of ours have any is known since they were registered.
        return self._mirrored.get(name) if name in self.specs else super()._tool_input_schema(name)

    async def read_resource(self, uri: Any, context: Any = None) -> Any:
        """Read a resource; a failure keeps its own exception, which admission shapes."""
        try:
            return await super().read_resource(uri, context)
        except ResourceNotFoundError:
            raise NotFound(
                "There is no resource at that address.",
                hint="resources/templates/list has the forms of addresses.",
                details={"uri": str(uri)[:256]},
            ) from None
        except UnexpectedResourceError as error:
            raise _root(error) from None

    async def get_prompt(self, name: str, arguments: dict[str, str] | None = None, context: Any = None) -> Any:
        """Render a prompt; unknown prompts and arguments, and missing ones, are named."""
        prompt = self._prompt_manager.get_prompt(name)
        if prompt is None:
            raise NotFound("There is no prompt of that name.", hint="prompts/list has every prompt.")
        known = {argument.name for argument in prompt.arguments or ()}
        missing = {argument.name for argument in prompt.arguments or () if argument.required} - set(arguments or ())
        unknown = set(arguments or ()) - known
        if missing or unknown:
            wrong = [f"{part} is required" for part in sorted(missing)]
            wrong += [f"{part[:64]!r} is not an argument" for part in sorted(unknown)[:5]]
            raise InvalidInput(
                "; ".join(wrong) + ".", hint=f"This prompt takes: {', '.join(sorted(known)) or 'nothing'}."
            )
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as error:
            raise _root(error) from None


def _root(error: BaseException) -> BaseException:
    """The exception that the SDK wrapped."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _mirrors(schema: Any) -> bool:
    """Whether some part of a schema asks for a header that repeats an argument."""
    if isinstance(schema, dict):
        return X_MCP_HEADER_KEY in schema or any(map(_mirrors, schema.values()))
    return isinstance(schema, list) and any(map(_mirrors, schema))


class _AnyArguments(ArgModelBase):
    """The SDK's own argument model stays empty: the guard's strict model does that work."""


def _registered(spec: ToolSpec) -> Tool:
    """The tool as the SDK lists it. Its function is never called by the SDK: the guard calls the spec's."""
    return Tool(
        fn=spec.run,
        name=spec.name,
        title=spec.title,
        description=spec.description,
        parameters=spec.input_schema,
        fn_metadata=FuncMetadata(arg_model=_AnyArguments, output_schema=spec.output_schema),
        is_async=True,
        context_kwarg=None,
        annotations=ToolAnnotations(
            read_only_hint=spec.hints.read_only,
            destructive_hint=spec.hints.destructive,
            idempotent_hint=spec.hints.idempotent,
            open_world_hint=spec.hints.open_world,
        ),
    )
