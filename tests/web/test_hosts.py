"""A page in a browser can't reach a tool: 20 forms of Host with 20 forms of Origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mcp_server.web.hosts import HostPolicy, is_loopback
from web.live import KEYS, Running, keyed, modern, running

HOSTS = (
    "127.0.0.1:{port}",
    "localhost:{port}",
    "[::1]:{port}",
    "LOCALHOST:{port}",
    "models.example.org",
    "models.example.org:{port}",
    "127.0.0.1",
    "localhost",
    "localhost:{other}",
    "localhost.:{port}",
    "127.0.0.1.:{port}",
    "evil.example",
    "evil.example:{port}",
    "localhost.evil.example:{port}",
    "user@localhost:{port}",
    "localhost:{port}@evil.example",
    "0.0.0.0:{port}",
    "127.1:{port}",
    "xn--lcalhost-54a:{port}",
    "models.example.org.evil.example",
)
LISTED_HOSTS = frozenset(HOSTS[:6])
ORIGINS = (
    None,
    "http://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://[::1]:{port}",
    "https://pages.example.org",
    "http://localhost:{other}",
    "http://localhost",
    "https://localhost:{port}",
    "null",
    "",
    "https://evil.example",
    "http://evil.example:{port}",
    "https://pages.example.org.evil.example",
    "https://pages.example.org:444",
    "http://pages.example.org",
    "http://user@localhost:{port}",
    "http://localhost:{port}/path",
    "http://localhost.:{port}",
    "file://",
    "chrome-extension://abcdefgh",
)
LISTED_ORIGINS = frozenset(ORIGINS[:5])


@pytest.fixture(scope="module")
def listed() -> Iterator[Running]:
    settings = keyed(allowed_hosts=("models.example.org",), allowed_origins=("https://pages.example.org",))
    with running(settings) as here:
        yield here


def filled(port: int) -> Callable[[str], bytes]:
    return lambda form: form.format(port=port, other=port + 1).encode()


@pytest.mark.parametrize("host", HOSTS)
def test_only_listed_hosts_and_origins_reach_a_tool(listed: Running, host: str) -> None:
    body, headers = modern("tools/call", {"name": "echo", "arguments": {"text": "reached"}})
    headers |= {"authorization": f"Bearer {KEYS['admin']}", "content-length": str(len(body)), "connection": "close"}
    form = filled(listed.port)
    for origin in ORIGINS:
        lines = [b"POST /mcp HTTP/1.1", b"host: " + form(host)]
        lines += [f"{name}: {value}".encode() for name, value in headers.items()]
        lines += [] if origin is None else [b"origin: " + form(origin)]
        answer = listed.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        expected = b"200" if host in LISTED_HOSTS and origin in LISTED_ORIGINS else b"421"
        if host in LISTED_HOSTS and origin not in LISTED_ORIGINS:
            expected = b"403"
        assert answer.split(b" ")[1] == expected, (host, origin)
        assert (b"reached" in answer) is (expected == b"200")


@pytest.mark.parametrize("request_line", [b"GET http://evil.example/mcp HTTP/1.1", b"GET //evil.example/mcp HTTP/1.1"])
def test_a_host_in_the_request_line_decides_nothing(listed: Running, request_line: bytes) -> None:
    answer = listed.raw(request_line + b"\r\nhost: localhost:%d\r\nconnection: close\r\n\r\n" % listed.port)
    assert answer.split(b" ")[1] in (b"401", b"400")


@pytest.mark.parametrize("hosts", [b"", b"host: a\r\nhost: b\r\n", b"host:\r\n"])
def test_no_host_or_two_are_refused(listed: Running, hosts: bytes) -> None:
    answer = listed.raw(b"GET /readyz HTTP/1.1\r\n" + hosts + b"connection: close\r\n\r\n")
    assert answer.split(b" ")[1] in (b"400", b"421")


def test_an_address_is_answered_under_its_own_name() -> None:
    policy = HostPolicy.for_bind("192.0.2.1", 8410)
    assert policy.allows_host([b"192.0.2.1:8410"])
    assert not policy.allows_host([b"localhost:8410"])


def test_a_server_on_every_address_answers_to_loopback_and_to_what_is_listed() -> None:
    policy = HostPolicy.for_bind("0.0.0.0", 8410, allowed_hosts=["models.example.org", "other.example.org:443"])
    for host in (b"localhost:8410", b"models.example.org", b"models.example.org:8410", b"other.example.org:443"):
        assert policy.allows_host([host])
    for host in (b"0.0.0.0:8410", b"other.example.org", b"other.example.org:8410"):
        assert not policy.allows_host([host])


def test_the_default_port_may_be_left_out() -> None:
    assert HostPolicy.for_bind("127.0.0.1", 80).allows_host([b"localhost"])


def test_a_star_allows_everything() -> None:
    policy = HostPolicy.for_bind("127.0.0.1", 80, allowed_hosts=["*"], allowed_origins=["*"])
    assert policy.allows_host([b"anything"])
    assert policy.allows_origin([b"null"])


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "2130706433", "127.1"])
def test_what_is_not_plainly_loopback_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
