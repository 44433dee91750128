"""The HTTP server: uvicorn with the time-outs that it lacks, and a stop that finishes what runs."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mcp_server import log
from mcp_server.errors import BadConfiguration
from mcp_server.settings import Settings
from mcp_server.web.access import checked_access
from mcp_server.web.app import McpServer, Readiness, always_ready, build_app
from mcp_server.web.edge import Lifecycle
from mcp_server.web.limits import HttpLimits

BACKLOG = 2_048
_BODY_MARGIN = 2.0
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

_log = log.get("courtside.web")


class BoundedProtocol(H11Protocol):
    """One connection, with deadlines that dripping bytes don't extend.

    Headers have to be complete in time, counted from the connection or from the first byte of a further request;
    then the body, a little later than the guard itself gives it up. Where too many send nothing, the oldest of these
    are closed, whoever opened them: that leaves room for those who do send.

    Args:
        half_open: the server's connections that wait for headers, oldest first.
    """

    def __init__(
        self, *args: Any, limits: HttpLimits, half_open: OrderedDict[BoundedProtocol, None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._half_open = half_open
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(h11.IDLE)

    def data_received(self, data: bytes) -> None:
        if self._awaited is None:
            self._await(h11.IDLE)
        super().data_received(data)
        self._await(self.conn.their_state if self._incomplete() else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        if len(self.conn.trailing_data[0]) > self._limits.header_bytes:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _incomplete(self) -> bool:
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _await(self, state: object) -> None:
        """Expect the end of the headers (IDLE), of the body (SEND_BODY), or nothing (None)."""
        if state is self._awaited:
            return
        self._awaited = state
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if state is not None:
            body = self._limits.body_seconds + _BODY_MARGIN
            seconds = self._limits.header_seconds if state is h11.IDLE else body
            self._deadline = self.loop.call_later(seconds, self._late)
        self._half_open.pop(self, None)
        if state is h11.IDLE:
            self._half_open[self] = None
            if len(self._half_open) > self._limits.half_open:
                oldest, _ = self._half_open.popitem(last=False)
                oldest._late()

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        if self._awaited is h11.IDLE and self.conn.trailing_data[0]:
            self.transport.write(_TOO_LATE)
        self.transport.close()


class HttpServer(uvicorn.Server):
    """A uvicorn server that says it's stopping before it stops, and then exits normally.

    Args:
        config: as uvicorn has it.
        lifecycle: shared with the application.
        limits: for the two phases of stopping.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, limits: HttpLimits) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._limits = limits

    def stop(self) -> None:
        """Not ready from now on; a moment later no new connection; then the end of what runs. Twice: at once."""
        if self._lifecycle.draining:
            self.force_exit = self.should_exit = True
            return
        self._lifecycle.draining = True
        asyncio.get_running_loop().call_later(self._limits.drain_seconds, self._close)

    def _close(self) -> None:
        self._lifecycle.stopping.set()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it's done, which turns a clean stop into an exit by signal.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.stop)) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def http_server(
    server: McpServer,
    settings: Settings,
    bound: socket.socket,
    *,
    host: str,
    insecure_loopback: bool = False,
    readiness: Readiness = always_ready,
    limits: HttpLimits | None = None,
) -> HttpServer:
    """A server for a bound socket; `await it.serve(sockets=[bound])` runs it.

    Raises:
        BadConfiguration: anyone could use it; see `checked_access`.
    """
    limits = limits or HttpLimits()
    lifecycle = Lifecycle()
    app = build_app(
        server,
        settings=settings,
        access=checked_access(settings, host, insecure_loopback=insecure_loopback),
        host=host,
        port=bound.getsockname()[1],
        readiness=readiness,
        limits=limits,
        lifecycle=lifecycle,
    )
    protocol: Any = functools.partial(BoundedProtocol, limits=limits, half_open=OrderedDict())
    keep_alive: Any = limits.keep_alive_seconds
    grace: Any = limits.grace_seconds
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could claim to be on this machine
        backlog=BACKLOG,
        limit_concurrency=limits.connections,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=grace,
        h11_max_incomplete_event_size=2 * limits.header_bytes,
    )
    return HttpServer(config, lifecycle, limits)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens: connections wait in it until the server runs.

    Raises:
        BadConfiguration: the address isn't this machine's, or the port is taken or privileged.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio turns Nagle's algorithm off; without, each answer waits 40 ms for an ACK.
        bound = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
    except OSError:
        raise BadConfiguration(
            f"{host[:64]}:{port} can't be listened on: it's taken, needs privileges, or isn't this machine's address.",
            hint="Choose another port, or stop what uses it.",
        ) from None
    bound.setblocking(False)
    return bound


async def serve_http(
    server: McpServer,
    settings: Settings,
    host: str,
    port: int,
    *,
    insecure_loopback: bool = False,
    readiness: Readiness = always_ready,
    limits: HttpLimits | None = None,
    announce: Callable[[int], None] | None = None,
) -> None:
    """Serve over HTTP until SIGINT or SIGTERM.

    Args:
        host: a loopback address, or another one where a key is set.
        port: 0 for any free one.
        insecure_loopback: serve this machine without a key.
        readiness: what `/readyz` asks.
        announce: called with the port once it's bound.
    Raises:
        BadConfiguration: anyone could use it, or the address can't be bound.
    """
    checked_access(settings, host, insecure_loopback=insecure_loopback)
    bound = bind(host, port)
    running = http_server(
        server,
        settings,
        bound,
        host=host,
        insecure_loopback=insecure_loopback,
        readiness=readiness,
        limits=limits,
    )
    number = bound.getsockname()[1]
    _log.info("listening", host=host, port=number, auth="none (loopback only)" if insecure_loopback else "API key")
    if announce is not None:
        announce(number)
    await running.serve(sockets=[bound])
