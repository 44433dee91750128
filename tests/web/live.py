"""A real server on a real socket, with a tool that says who called."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Any

import httpx
from mcp.server.mcpserver import Context, MCPServer

from mcp_server.settings import Settings, load
from mcp_server.web.access import CALLER
from mcp_server.web.app import Readiness, always_ready
from mcp_server.web.limits import HttpLimits
from mcp_server.web.serve import HttpServer, bind, http_server

KEYS = {role: f"{role}-key-0123456789abcdef" for role in ("viewer", "operator", "admin")}
MODERN = "2026-07-28"


def echo_server() -> MCPServer[None]:
    server: MCPServer[None] = MCPServer("echo", log_level="WARNING")

    @server.tool()
    async def echo(text: str) -> str:
        return text

    @server.tool()
    async def who_am_i(ctx: Context[Any]) -> str:
        request: Any = ctx.request_context.request
        known = CALLER.get()
        assert known is not None
        assert known is request.state.caller
        return f"{known.id} {' '.join(sorted(known.scopes))}"

    return server


def keyed(**overrides: Any) -> Settings:
    keys = ",".join(f"{role}-person:{role}:{key}" for role, key in KEYS.items())
    return load({}, api_keys=keys, **overrides)


@dataclass
class Running:
    """A server in a thread, and ways to talk to it."""

    server: HttpServer
    port: int
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    key: str | None = KEYS["admin"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= options.pop("headers", {})
        # Without verification no certificates are loaded, which is most of what a client costs.
        with httpx.Client(base_url=self.url, timeout=30, verify=False) as client:
            return client.request(method, path, headers=headers, **options)

    def rpc(self, method: str, params: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
        body, headers = modern(method, params)
        return self.request("POST", "/mcp", content=body, headers=headers | options.pop("headers", {}), **options)

    def call(self, tool: str, **arguments: Any) -> str:
        answer = self.rpc("tools/call", {"name": tool, "arguments": arguments}).json()
        return str(answer["result"]["content"][0]["text"])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, request: bytes) -> bytes:
        """Send bytes and read until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.stop)
            self.thread.join(30)
        assert not self.thread.is_alive()


def modern(method: str, params: dict[str, Any] | None = None) -> tuple[bytes, dict[str, str]]:
    """A request of the current protocol version: body and headers."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": method,
    }
    if params and "name" in params:
        headers["mcp-name"] = params["name"]
    return json.dumps(message).encode(), headers


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@contextmanager
def running(
    settings: Settings | None = None,
    *,
    limits: HttpLimits | None = None,
    readiness: Readiness = always_ready,
    insecure_loopback: bool = False,
    server: MCPServer[Any] | None = None,
) -> Iterator[Running]:
    bound = bind("127.0.0.1", 0)
    served = http_server(
        server or echo_server(),
        settings or keyed(),
        bound,
        host="127.0.0.1",
        insecure_loopback=insecure_loopback,
        readiness=readiness,
        limits=limits or HttpLimits(drain_seconds=0.0),
    )
    loops: Queue[asyncio.AbstractEventLoop] = Queue()

    async def main() -> None:
        loops.put(asyncio.get_running_loop())
        await served.serve(sockets=[bound])

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    key = None if insecure_loopback else KEYS["admin"]
    here = Running(served, bound.getsockname()[1], loops.get(timeout=30), thread, key)
    try:
        yield here
    finally:
        here.stop()
