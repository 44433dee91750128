"""The HTTP application: MCP, health and metrics behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mcp_server import telemetry
from mcp_server.errors import CourtsideError
from mcp_server.settings import Settings
from mcp_server.web.access import Access
from mcp_server.web.edge import MCP_PATH, Edge, Lifecycle
from mcp_server.web.hosts import HostPolicy
from mcp_server.web.limits import HttpLimits

READINESS_SECONDS = 2.0

Readiness = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Each dependency's name with None where it answers, or with the reason why it doesn't, in our words."""


class Sessions(Protocol):
    """What serves MCP requests while it runs."""

    def run(self) -> AbstractAsyncContextManager[None]: ...


class McpServer(Protocol):
    """What this package needs of a server: the protocol library's `MCPServer` has it."""

    @property
    def session_manager(self) -> Sessions: ...

    @property
    def streamable_http_app(self) -> Callable[..., Starlette]: ...


async def always_ready() -> dict[str, str | None]:
    """The readiness of a server without dependencies."""
    return {}


def build_app(
    server: McpServer,
    *,
    settings: Settings,
    access: Access,
    host: str,
    port: int,
    readiness: Readiness = always_ready,
    limits: HttpLimits | None = None,
    lifecycle: Lifecycle | None = None,
) -> ASGIApp:
    """Put a server behind the guard.

    Args:
        server: its own HTTP application is made here, once.
        access: who may call.
        host: what the socket is bound to.
        port: the bound port, for the Host and Origin lists.
        readiness: asked by `/readyz`, at most 2 s.
        lifecycle: shared with whoever stops the server.
    """
    limits = limits or HttpLimits()
    lifecycle = lifecycle or Lifecycle()
    mcp_app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        max_request_body_size=limits.body_bytes,
        max_sessions=limits.sessions,
        session_idle_timeout=limits.session_idle_seconds,
        # Any but a loopback name: the library's own Host check trusts every local port, so ours stands in its place.
        host="guarded",
    )
    health = Health(readiness, lifecycle)
    routes: list[BaseRoute] = [
        *mcp_app.routes,
        Route("/readyz", health.readyz),
        Route("/startupz", health.startupz),
        Route("/metrics", metrics),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(telemetry.watch_loop())
        try:
            async with server.session_manager.run():
                yield
        finally:
            watching.cancel()

    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    hosts = HostPolicy.for_bind(
        host, port, allowed_hosts=settings.allowed_hosts, allowed_origins=settings.allowed_origins
    )
    mcp = next(route.app for route in mcp_app.routes if isinstance(route, Route) and route.path == MCP_PATH)
    return Edge(app, mcp=mcp, access=access, hosts=hosts, limits=limits, lifecycle=lifecycle)


class Health:
    """The probes that ask dependencies. `/livez` isn't among them: a restart doesn't mend a database."""

    def __init__(self, readiness: Readiness, lifecycle: Lifecycle) -> None:
        self._readiness = readiness
        self._lifecycle = lifecycle

    async def readyz(self, _: Request) -> Response:
        """Whether requests should be sent here."""
        reasons = {"server": "It's stopping."} if self._lifecycle.draining else await self._reasons()
        if reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def startupz(self, _: Request) -> Response:
        """Whether it was ready once: until then no other probe means anything."""
        if not self._lifecycle.started:
            reasons = await self._reasons()
            if reasons:
                return JSONResponse({"status": "starting", "reasons": reasons}, status_code=503)
            self._lifecycle.started = True
        return JSONResponse({"status": "started"})

    async def _reasons(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(READINESS_SECONDS):
                checked = await self._readiness()
        except TimeoutError:
            return {"readiness": f"No answer within {READINESS_SECONDS:.0f} s."}
        except CourtsideError as error:
            return {"readiness": error.message}
        return {name: reason for name, reason in checked.items() if reason is not None}


async def metrics(_: Request) -> Response:
    """Counters and durations in the Prometheus text format."""
    return Response(telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
