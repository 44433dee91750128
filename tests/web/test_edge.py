"""Bounds on headers and bodies, strict messages, and sessions that belong to who opened them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mcp_server.guard.wire import MAX_BYTES
from mcp_server.web.limits import HttpLimits
from web.live import KEYS, Running, keyed, modern, read_all, running


def initialize(web: Running, role: str = "admin") -> httpx.Response:
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return legacy(web, role, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})


def legacy(web: Running, role: str, message: dict[str, Any], **headers: str) -> httpx.Response:
    headers |= {"authorization": f"Bearer {KEYS[role]}", "accept": "application/json, text/event-stream"}
    return web.request("POST", "/mcp", json=message, headers=headers)


def who_am_i(web: Running, role: str, session: str, number: int = 1) -> httpx.Response:
    call = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "who_am_i", "arguments": {}}}
    return legacy(web, role, call, **{"mcp-session-id": session, "mcp-protocol-version": "2025-06-18"})


def test_a_tool_answers(web: Running) -> None:
    assert web.call("echo", text="hello") == "hello"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":"\xff"}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":1,"x":2}}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"tools/list"}', -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', -32600),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 129 + b'","method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b'{"a":' * 70 + b"1" + b"}" * 71, -32600),
    ],
)
def test_a_message_that_is_not_strict_is_a_json_rpc_error(web: Running, body: bytes, code: int) -> None:
    _, headers = modern("tools/list")
    answer = web.request("POST", "/mcp", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_a_body_of_the_largest_size_is_read(web: Running) -> None:
    body, _ = modern("tools/call", {"name": "echo", "arguments": {"text": ""}})
    text = "a" * (MAX_BYTES - len(body))
    assert len(web.call("echo", text=text)) == len(text)


@pytest.mark.parametrize("chunked", [False, True])
def test_one_byte_more_is_refused_and_the_client_learns_why(web: Running, chunked: bool) -> None:
    content: Any = b"a" * (MAX_BYTES + 1)
    if chunked:
        content = iter([b"a" * MAX_BYTES, b"a"])
    answer = web.request("POST", "/mcp", content=content, headers=modern("tools/list")[1])
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "E_SIZE"


@pytest.mark.parametrize("length", [b"99999999999999999999", b"9" * 5_000, b"-1", b"1, 2", b"0x10"])
def test_an_absurd_length_is_refused_before_anything_is_read(web: Running, length: bytes) -> None:
    key = KEYS["admin"].encode()
    answer = web.raw(
        b"POST /mcp HTTP/1.1\r\nhost: localhost:%d\r\nx-api-key: %s\r\nconnection: close\r\ncontent-length: %s\r\n\r\n"
        % (web.port, key, length)
    )
    assert answer.split(b" ")[1] in (b"400", b"413")


def test_the_most_headers_are_read(web: Running) -> None:
    own = len(httpx.Client(headers={"authorization": "x"}).build_request("GET", web.url).headers)
    assert web.request("GET", "/readyz", headers={f"x-{place}": "1" for place in range(64 - own)}).status_code == 200


def test_one_header_more_is_refused(web: Running) -> None:
    own = len(httpx.Client(headers={"authorization": "x"}).build_request("GET", web.url).headers)
    assert web.request("GET", "/readyz", headers={f"x-{place}": "1" for place in range(65 - own)}).status_code == 431


@pytest.mark.parametrize("size", [17_000, 40_000, 200_000])
def test_headers_beyond_their_size_are_refused(web: Running, size: int) -> None:
    with web.connect() as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost:%d\r\nx-large: " % web.port)
        for _ in range(0, size, 1_000):
            try:
                connection.sendall(b"x" * 1_000)
            except ConnectionError:
                break
        else:
            connection.sendall(b"\r\nconnection: close\r\n\r\n")
        answer = read_all(connection)
    assert answer == b"" or answer.split(b" ")[1] == b"431"


MALFORMED = [
    b"GET /mcp#/livez HTTP/1.1",
    b"GET /mcp?/livez HTTP/1.1",
    b"GET /livez/../mcp HTTP/1.1",
    b"GET /livez/../metrics HTTP/1.1",
    b"GET /livez%2f..%2fmetrics HTTP/1.1",
    b"GET /livez;/metrics HTTP/1.1",
    b"GET //livez HTTP/1.1",
    b"GET /livez// HTTP/1.1",
    b"GET /LIVEZ HTTP/1.1",
    b"GET /metrics%00/livez HTTP/1.1",
    b"GET /metrics%2flivez HTTP/1.1",
    b"GET /metrics/livez HTTP/1.1",
    b"GET livez HTTP/1.1",
    b"GET * HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET http://localhost/livez HTTP/1.1",
    b"GET /%6detrics HTTP/1.1",
    b"GET /metrics%20 HTTP/1.1",
    b"GET /metrics HTTP/1.0",
    b"POST /mcp/ HTTP/1.1",
    b"POST /mcp%3f HTTP/1.1",
    b"GET /metrics?a=http://x/livez HTTP/1.1",
    b"CONNECT localhost:1 HTTP/1.1",
    b"TRACE /metrics HTTP/1.1",
    b"get /metrics HTTP/1.1",
    b"GET /metrics\tHTTP/1.1",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
    b"GET /metrics HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5",
    b"GET /metrics HTTP/1.1\r\nx-forwarded-for: 127.0.0.1\r\nx-original-url: /livez",
]


@pytest.mark.parametrize("head", MALFORMED)
def test_no_malformed_request_gets_past_the_key(web: Running, head: bytes) -> None:
    answer = web.raw(head + b"\r\nhost: localhost:%d\r\nconnection: close\r\n\r\n" % web.port)
    assert b"courtside_calls" not in answer
    assert b" 200 " not in answer.split(b"\r\n")[0]


def test_a_session_of_an_older_protocol_serves_who_opened_it(web: Running) -> None:
    session = initialize(web, "operator").headers["mcp-session-id"]
    assert "key:operator-person " in who_am_i(web, "operator", session).text


def test_an_id_is_free_again_once_it_is_answered(web: Running) -> None:
    session = initialize(web, "operator").headers["mcp-session-id"]
    assert {who_am_i(web, "operator", session, 1).status_code for _ in range(20)} == {200}


def test_a_session_does_not_exist_for_anyone_else(web: Running) -> None:
    session = initialize(web, "operator").headers["mcp-session-id"]
    foreign = who_am_i(web, "admin", session)
    assert (foreign.status_code, foreign.json()) == (404, who_am_i(web, "admin", "f" * 32).json())


def test_no_caller_is_ever_taken_for_another(web: Running) -> None:
    sessions = {role: initialize(web, role).headers["mcp-session-id"] for role in KEYS}

    def mixed_up(turn: int) -> int:
        role = sorted(KEYS)[turn % 3]
        headers = {"authorization": f"Bearer {KEYS[role]}"}
        current = web.rpc("tools/call", {"name": "who_am_i", "arguments": {}}, headers=headers).text
        older = who_am_i(web, role, sessions[role], turn).text
        return sum(f"key:{role}-person " not in answer for answer in (current, older))

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(mixed_up, range(120))) == 0


def test_there_are_at_most_as_many_sessions_as_allowed() -> None:
    with running(limits=HttpLimits(drain_seconds=0.0, sessions=3)) as here:
        assert [initialize(here).status_code for _ in range(4)] == [200, 200, 200, 503]


def test_one_caller_cannot_take_every_session() -> None:
    with running(limits=HttpLimits(drain_seconds=0.0, caller_sessions=2)) as here:
        opened = [initialize(here) for _ in range(3)]
        assert [answer.status_code for answer in opened] == [200, 200, 429]
        assert opened[-1].json()["error"]["code"] == "E_BUSY"
        assert initialize(here, "viewer").status_code == 200
        ended = {"mcp-session-id": opened[0].headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
        assert here.request("DELETE", "/mcp", headers=ended).status_code == 200
        assert initialize(here).status_code == 200


def test_nobody_else_ends_a_session_by_another_path(web: Running) -> None:
    session = initialize(web).headers["mcp-session-id"]
    other = {"authorization": f"Bearer {KEYS['viewer']}", "mcp-session-id": session}
    assert web.request("DELETE", "/readyz", headers=other).status_code == 405
    assert who_am_i(web, "admin", session).status_code == 200


def test_sessions_that_are_opened_at_once_are_counted_too() -> None:
    with running(limits=HttpLimits(drain_seconds=0.0, caller_sessions=5)) as here, ThreadPoolExecutor(20) as pool:
        codes = [answer.status_code for answer in pool.map(lambda _: initialize(here), range(40))]
    assert codes.count(200) == 5
    assert codes.count(429) == 35


def test_an_idle_session_ends() -> None:
    with running(limits=HttpLimits(drain_seconds=0.0, sessions=1, session_idle_seconds=0.05)) as here:
        first = initialize(here).headers["mcp-session-id"]
        # The only place is taken until the first session has ended, however long that takes.
        while initialize(here).status_code == 503:
            pass
        assert who_am_i(here, "admin", first).status_code == 404


def test_answers_are_not_sniffed(web: Running) -> None:
    assert web.request("GET", "/readyz").headers["x-content-type-options"] == "nosniff"


def test_a_refusal_is_json_with_a_code_and_a_next_step(web: Running) -> None:
    web_error = web.request("GET", "/readyz", headers={"authorization": "Bearer wrong"}).json()["error"]
    assert set(web_error) == {"code", "message", "hint"}
    assert "wrong" not in json.dumps(web_error)


def test_a_forwarded_address_makes_nobody_local() -> None:
    with running(keyed()) as here:
        here.key = None
        assert here.request("GET", "/readyz", headers={"x-forwarded-for": "127.0.0.1"}).status_code == 401


@pytest.mark.parametrize("path", ["/mcp%0A", "/mcp%0D", "/mcp/", "/mcp%00", "//mcp", "/mcp;x", "/MCP", "/mcp%2F", "/x"])
def test_no_other_path_reaches_what_the_mcp_path_guards(web: Running, path: str) -> None:
    session = initialize(web).headers["mcp-session-id"]
    call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "who_am_i", "arguments": {}}}
    headers = {
        "authorization": f"Bearer {KEYS['viewer']}",
        "accept": "application/json, text/event-stream",
        "mcp-session-id": session,
        "mcp-protocol-version": "2025-06-18",
    }
    for method in ("POST", "DELETE", "GET"):
        answer = web.request(method, path, json=call if method == "POST" else None, headers=headers)
        assert answer.status_code == 404, (method, path, answer.text)
    assert who_am_i(web, "admin", session).status_code == 200, "the session is still its owner's"
