"""Standard input and output: checked lines in, nothing but answers out, and an end when there's nobody left."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_server.guard.stdio import MOST_WAITING, stdio_streams
from mcp_server.guard.wire import MAX_BYTES, WireError, check_message

ROOT = Path(__file__).parents[2]
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Client:
    """A client that speaks bytes."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("stdio_server_process.py"))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.sent, self.received = self.process.stdin, self.process.stdout
        self.ids = iter(range(1, 1_000_000))

    def send(self, line: bytes) -> None:
        assert self.sent is not None
        self.sent.write(line + b"\n")
        self.sent.flush()

    def read(self) -> dict[str, Any]:
        assert self.received is not None
        answer = json.loads(self.received.readline())
        assert answer["jsonrpc"] == "2.0"
        return dict(answer)

    def request(self, tool: str, **arguments: Any) -> int:
        number = next(self.ids)
        params = {"name": tool, "arguments": arguments, "_meta": MODERN}
        self.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode())
        return number

    def call(self, tool: str, **arguments: Any) -> str:
        number = self.request(tool, **arguments)
        answer = self.read()
        assert answer["id"] == number
        return str(answer["result"]["content"][0]["text"])

    def close_input(self) -> None:
        assert self.sent is not None
        self.sent.close()

    def ended(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        code = self.process.wait(20)
        return code, self.process.stderr.read().decode()


@pytest.fixture
def fresh() -> Iterator[Client]:
    client = Client()
    with client.process:
        try:
            yield client
        finally:
            client.process.kill()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client()
    with client.process:
        try:
            yield client
        finally:
            client.process.kill()


HOSTILE = [
    (b"garbage", -32700, None),
    (b"{", -32700, None),
    (b"\xff\xfe", -32700, None),
    (b'"\\ud800"', -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}', -32700, None),
    (b"[" * 100_000, -32700, None),
    (b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"x"}', -32700, None),
    (b"x" * (MAX_BYTES + 1), -32700, None),
    (b"x" * (3 * MAX_BYTES), -32700, None),
    (b"[]", -32600, None),
    (b"null", -32600, None),
    (b'{"jsonrpc":"2.0","id":null,"method":"x"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":"a","method":"x","params":{"k":1,"k":2}}', -32600, "a"),
    (b'{"jsonrpc":"2.0","id":"' + b"i" * 1_000_000 + b'","method":"x"}', -32600, None),
    (b'{"jsonrpc":"1.0","id":5,"method":"x"}', -32600, 5),
]


@pytest.mark.parametrize(("line", "code", "number"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_is_answered_and_service_goes_on(
    client: Client, line: bytes, code: int, number: str | int | None
) -> None:
    client.send(line)
    answer = client.read()
    assert (answer["error"]["code"], answer["id"]) == (code, number)
    assert client.call("echo", text="still here") == "still here"


def test_blank_lines_and_carriage_returns_are_no_messages(client: Client) -> None:
    client.send(b"\n\r\n  \n\t")
    assert client.call("echo", text="first answer") == "first answer"


def test_the_largest_line_is_read(client: Client) -> None:
    text = "a" * (MAX_BYTES - 1_000)
    assert client.call("echo", text=text) == text


def test_nothing_but_answers_reaches_the_wire(client: Client) -> None:
    assert client.call("noise") == "a child could read 0 bytes of the wire"
    assert client.call("echo", text="next") == "next"


def test_ten_thousand_lines_of_fuzz_are_each_answered_or_served(client: Client) -> None:
    chance = random.Random(7)
    seed = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"a":[1,2.5,"x\\n"]}}}'
    lines = []
    while len(lines) < 10_000:
        line = bytearray(seed)
        for _ in range(chance.randint(1, 6)):
            line[chance.randrange(len(line))] = chance.randrange(256)
        lines.append(bytes(line).replace(b"\n", b"?"))
    refused = [line for line in lines if line.strip() and is_refused(line)]
    assert len(refused) > 5_000
    for start in range(0, len(refused), 50):  # as many as the pipes can hold in both directions
        batch = refused[start : start + 50]
        client.send(b"\n".join(batch))
        for _ in batch:
            assert client.read()["error"]["code"] in (-32700, -32600)
    assert client.call("echo", text="alive") == "alive"


def is_refused(line: bytes) -> bool:
    try:
        check_message(line)
    except WireError:
        return True
    return False


def test_the_older_handshake_is_served(fresh: Client) -> None:
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    fresh.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode())
    assert fresh.read()["result"]["protocolVersion"] == "2025-06-18"
    fresh.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    fresh.send(b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"old"}}}')
    assert fresh.read()["result"]["content"][0]["text"] == "old"


def test_the_end_of_the_input_ends_the_server_in_the_middle_of_a_call(fresh: Client) -> None:
    assert fresh.call("echo", text="started") == "started"
    fresh.request("wait")
    fresh.close_input()
    code, told = fresh.ended()
    assert (code, "Traceback" in told) == (0, False)


def test_an_answer_that_nobody_reads_ends_the_server_quietly(fresh: Client) -> None:
    assert fresh.call("echo", text="started") == "started"
    assert fresh.received is not None
    fresh.received.close()
    fresh.request("echo", text="unread")
    code, told = fresh.ended()
    assert (code, "Traceback" in told) == (0, False)


def test_a_client_that_stops_reading_can_t_keep_the_server_alive(fresh: Client) -> None:
    assert fresh.call("echo", text="started") == "started"
    fresh.request("echo", text="x" * 2_000_000)
    fresh.close_input()
    assert fresh.ended()[0] == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_an_endless_line_takes_bounded_memory(fresh: Client) -> None:
    assert fresh.call("echo", text="started") == "started"
    before = most_memory(fresh.process.pid)
    assert fresh.sent is not None
    for _ in range(100):
        fresh.sent.write(b"x" * 1_000_000)
    fresh.send(b"")
    assert fresh.read()["error"]["code"] == -32700
    assert most_memory(fresh.process.pid) - before < 32 * 1024


def most_memory(pid: int) -> int:
    """The process's peak resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_what_waits_for_the_event_loop_is_bounded() -> None:
    line = b'{"jsonrpc":"2.0","method":"' + b"m" * 1_000_000 + b'"}\n'

    async def main() -> tuple[int, int]:
        reading, writing = os.pipe()
        async with stdio_streams((reading, writing)) as (incoming, _):
            sender = threading.Thread(target=send_all, args=(writing, line * 30))
            sender.start()
            while incoming._waiting < MOST_WAITING - len(line):
                pass  # the event loop is kept busy on purpose
            most, received = 0, 0
            async for _ in incoming:
                most, received = max(most, incoming._waiting), received + 1
                if received == 30:
                    break
            sender.join()
            os.close(writing)
        os.close(reading)
        return most, received

    most, received = asyncio.run(main())
    assert (most <= MOST_WAITING, received) == (True, 30)


def send_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def test_a_last_line_without_an_end_is_read() -> None:
    async def main() -> list[str]:
        reading, writing = os.pipe()
        os.write(writing, b'{"jsonrpc":"2.0","method":"a"}\n{"jsonrpc":"2.0","method":"b"}')
        os.close(writing)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        async with stdio_streams((reading, nowhere)) as (incoming, _):
            return [json.loads(line)["method"] async for line in incoming]

    assert asyncio.run(main()) == ["a", "b"]


def test_lines_of_two_writers_are_never_torn() -> None:
    async def main() -> list[bytes]:
        source, _ = os.pipe()
        reading, writing = os.pipe()
        async with stdio_streams((source, writing)) as (_, outgoing):
            reader = asyncio.create_task(asyncio.to_thread(read_all, reading))

            async def library(letter: str) -> None:
                await outgoing.write(letter * 50_000 + "\n")
                await outgoing.flush()

            await asyncio.gather(*(library(letter) for letter in "abc"), *(outgoing.reply(b"r" * 9_000) for _ in "xyz"))
            os.close(writing)
        return (await reader).splitlines()

    lines = asyncio.run(main())
    assert sorted(len(line) for line in lines) == [9_000] * 3 + [50_000] * 3
    assert all(len(set(line)) == 1 for line in lines)


def read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as stream:
        return stream.read()


def test_without_polling_a_thread_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        source, _ = os.pipe()
        reading, writing = os.pipe()
        async with stdio_streams((source, writing)) as (_, outgoing):
            monkeypatch.setattr(outgoing, "_poll", None)
            await outgoing.write("text\n")
            await outgoing.flush()
        assert os.read(reading, 100) == b"text\n"

    asyncio.run(main())
