"""Slow clients are shown out, and a stop finishes what runs."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from mcp.server.mcpserver import MCPServer

from mcp_server.errors import BadConfiguration
from mcp_server.web.limits import HttpLimits
from mcp_server.web.serve import bind
from web.live import KEYS, Running, echo_server, modern, read_all, running

QUICK = HttpLimits(drain_seconds=0.0, header_seconds=0.3, body_seconds=0.3, keep_alive_seconds=0.3, half_open=400)
PATIENT = HttpLimits(drain_seconds=0.0, grace_seconds=600.0)
SLOW_HEADERS = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-slow: "


@contextmanager
def bare() -> Iterator[int]:
    """The control: the same server under uvicorn alone."""
    bound = bind("127.0.0.1", 0)
    config = uvicorn.Config(echo_server().streamable_http_app(host="x"), http="h11", log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
    thread.start()
    try:
        yield bound.getsockname()[1]
    finally:
        server.force_exit = server.should_exit = True
        thread.join(30)


@contextmanager
def slow(port: int, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """Clients that send the start of a request and then nothing."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(count)]
    try:
        for connection in connections:
            connection.sendall(start)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def slow_body(port: int) -> bytes:
    _, headers = modern("tools/list")
    headers |= {"host": f"localhost:{port}", "x-api-key": KEYS["admin"], "content-length": "100"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n{{".encode()


def open_ones(connections: list[socket.socket]) -> int:
    """How many connections the server has neither answered nor closed."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(connections) - len(poll.poll(0))


def test_three_hundred_slow_headers_are_closed_while_others_are_served() -> None:
    with (
        running(limits=QUICK) as here,
        bare() as control,
        slow(control, 50, SLOW_HEADERS) as kept,
        slow(here.port, 300, SLOW_HEADERS) as shown_out,
    ):
        assert here.call("echo", text="served") == "served"
        assert {read_all(connection).split(b" ")[1] for connection in shown_out} == {b"408"}
        assert open_ones(kept) == 50  # without the guard they stay


def test_a_hundred_slow_bodies_are_answered_with_408() -> None:
    with (
        running(limits=QUICK) as here,
        bare() as control,
        slow(control, 50, slow_body(control)) as kept,
        slow(here.port, 100, slow_body(here.port)) as shown_out,
    ):
        answers = [read_all(connection) for connection in shown_out]
        assert {answer.split(b" ")[1] for answer in answers} == {b"408"}
        assert all(b"E_DEADLINE" in answer for answer in answers)
        assert open_ones(kept) == 50


@pytest.mark.parametrize("phase", ["headers", "body", "kept alive"])
def test_dripping_bytes_extend_nothing(phase: str) -> None:
    with running(limits=QUICK) as here, here.connect() as connection:
        if phase == "headers":
            connection.sendall(SLOW_HEADERS)
        elif phase == "body":
            connection.sendall(slow_body(here.port))
        else:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost:%d\r\n" % here.port)
            connection.sendall(b"x-api-key: %s\r\n\r\n" % KEYS["admin"].encode())
            assert b"200" in connection.recv(12)
        answer = b""
        while True:
            if select.select([connection], [], [], 0.02)[0]:
                chunk = connection.recv(65_536)
                answer += chunk
                if not chunk or b"408" in answer:
                    break
            connection.send(b"x")


@pytest.mark.parametrize("start", [b"", b"GET", SLOW_HEADERS])
def test_a_silent_connection_is_closed(start: bytes) -> None:
    with running(limits=QUICK) as here:
        assert here.raw(start).split(b"\r\n")[0] == (b"HTTP/1.1 408 Request Timeout" if start else b"")


def test_an_idle_connection_is_closed() -> None:
    with running(limits=QUICK) as here:
        answer = here.raw(b"GET /readyz HTTP/1.1\r\nhost: localhost:%d\r\n\r\n" % here.port)
        assert answer.startswith(b"HTTP/1.1 401")


def test_beyond_the_connections_there_is_a_503() -> None:
    with running(limits=HttpLimits(drain_seconds=0.0, connections=5)) as here, slow(here.port, 5, b"G"):
        assert here.request("GET", "/readyz").status_code == 503


def test_a_flood_of_half_open_connections_leaves_room_for_who_speaks() -> None:
    bounded = HttpLimits(drain_seconds=0.0, connections=40, half_open=20)
    unbounded = HttpLimits(drain_seconds=0.0, connections=40, half_open=1_000)
    with (
        running(limits=bounded) as here,
        running(limits=unbounded) as control,
        slow(here.port, 60, SLOW_HEADERS) as flood,
        slow(control.port, 60, SLOW_HEADERS) as kept,
    ):
        assert here.call("echo", text="served") == "served"
        # Whose first bytes hadn't arrived yet gets no answer before the end.
        assert {read_all(connection)[:12] for connection in flood[:40]} <= {b"HTTP/1.1 408", b""}
        assert open_ones(flood) == 19  # one more made room for the call
        assert control.request("GET", "/livez").status_code == 503  # without the bound nobody gets through
        assert open_ones(kept) == 60


@pytest.mark.parametrize("era", ["session", "subscription"])
def test_one_caller_cannot_take_every_stream(era: str) -> None:
    with (
        running(limits=HttpLimits(drain_seconds=0.0, caller_streams=2)) as here,
        stream(here, era),
        stream(here, era) as second,
        stream(here, era) as third,
        stream(here, era, role="operator") as other,
    ):
        assert second.startswith(b"HTTP/1.1 200")
        assert third.startswith(b"HTTP/1.1 429")
        assert b"E_BUSY" in third
        assert other.startswith(b"HTTP/1.1 200")


@contextmanager
def stream(here: Running, era: str, role: str = "admin") -> Iterator[bytes]:
    """An event stream, held open; what came first."""
    with here.connect() as connection:
        connection.sendall(stream_request(here, era, role))
        received = b""
        while b"\r\n\r\n" not in received or (b" 429 " in received and b"E_BUSY" not in received):
            received += connection.recv(65_536)
        yield received


def stream_request(here: Running, era: str, role: str = "admin") -> bytes:
    headers = {"host": f"localhost:{here.port}", "x-api-key": KEYS[role], "accept": "text/event-stream"}
    body = b""
    if era == "session":
        headers |= open_session(here, role) | {"accept": "text/event-stream"}
    else:
        body, more = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        headers |= more | {"content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{'POST' if body else 'GET'} /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body


def test_pipelined_requests_are_all_answered() -> None:
    with running() as here:
        one = b"GET /readyz HTTP/1.1\r\nhost: localhost:%d\r\nx-api-key: %s\r\n" % (here.port, KEYS["admin"].encode())
        answer = here.raw((one + b"\r\n") * 19 + one + b"connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 20


def test_a_stopping_server_says_so_before_it_stops() -> None:
    with running(limits=HttpLimits(drain_seconds=600.0)) as here:
        assert here.request("GET", "/readyz").status_code == 200
        here.loop.call_soon_threadsafe(here.server.stop)
        assert here.request("GET", "/readyz").status_code == 503
        assert here.request("GET", "/livez").status_code == 200


class Gate:
    """A tool that tells when it runs and waits until it may end."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = asyncio.Event()
        self.server: MCPServer[None] = echo_server()

        @self.server.tool()
        async def wait_at_gate() -> str:
            self.entered.set()
            await self.opened.wait()
            return "through"


def test_a_running_call_is_finished_before_the_end() -> None:
    gate = Gate()
    with running(limits=PATIENT, server=gate.server) as here, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(here.call, "wait_at_gate")
        assert gate.entered.wait(30)
        here.loop.call_soon_threadsafe(here.server.stop)
        while not refuses_connections(here):
            pass
        here.loop.call_soon_threadsafe(gate.opened.set)
        assert answer.result(30) == "through"


def test_an_id_that_still_runs_in_a_session_is_refused() -> None:
    gate = Gate()
    with running(limits=PATIENT, server=gate.server) as here, ThreadPoolExecutor(1) as pool:
        session = open_session(here)
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "wait_at_gate", "arguments": {}}}
        first = pool.submit(here.request, "POST", "/mcp", json=call, headers=session)
        assert gate.entered.wait(30)
        second = here.request("POST", "/mcp", json=call, headers=session)
        assert (second.status_code, second.json()["id"], second.json()["error"]["code"]) == (400, 7, -32600)
        here.loop.call_soon_threadsafe(gate.opened.set)
        assert "through" in first.result(30).text
        assert "through" in here.request("POST", "/mcp", json=call, headers=session).text


def open_session(here: Running, role: str = "admin") -> dict[str, str]:
    """The headers of a session of an older protocol version."""
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    accept = {"accept": "application/json, text/event-stream"}
    answer = here.request("POST", "/mcp", json=opening, headers=accept | {"authorization": f"Bearer {KEYS[role]}"})
    session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    return accept | session


def refuses_connections(here: Running) -> bool:
    try:
        here.connect().close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("era", ["session", "subscription"])
def test_an_open_stream_doesn_t_hold_up_the_end(era: str) -> None:
    with running(limits=PATIENT) as here, here.connect() as connection:
        connection.sendall(stream_request(here, era))
        received = connection.recv(65_536)
        assert b"text/event-stream" in received
        here.stop()
        assert (received + read_all(connection)).endswith(b"0\r\n\r\n")


def test_a_port_that_is_taken_is_said_in_our_words() -> None:
    with running() as here, pytest.raises(BadConfiguration, match="can't be listened on"):
        bind("127.0.0.1", here.port)


SCRIPT = """
import asyncio, sys
sys.path.insert(0, "tests")
from web.live import echo_server, keyed
from mcp_server import log
from mcp_server.web import serve_http
log.configure("ERROR")
asyncio.run(serve_http(echo_server(), keyed(), "127.0.0.1", 0, announce=lambda port: print(port, flush=True)))
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=root, env=environment, stdout=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_normally(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert json.loads(read_all(connection).split(b"\r\n\r\n")[1]) == {"status": "alive"}
    process.send_signal(number)
    assert process.wait(30) == 0
