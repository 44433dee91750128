"""Who may call, and which servers don't start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import BadConfiguration, Unauthenticated
from mcp_server.settings import Settings, load
from mcp_server.web.access import Access, KeyRing, checked_access
from web.live import KEYS, Running, keyed, running

CLIENT = ("127.0.0.1", 40_000)
ELSEWHERE = ("192.0.2.7", 40_000)
KEYLESS = load({})


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("settings", [KEYLESS, keyed()], ids=["no key", "key"])
def test_no_open_server_starts(host: str, insecure: bool, settings: Settings) -> None:
    safe = host == "127.0.0.1" if insecure else settings.api_keys is not None
    if safe:
        assert checked_access(settings, host, insecure_loopback=insecure)
        return
    with pytest.raises(BadConfiguration) as refused:
        checked_access(settings, host, insecure_loopback=insecure)
    assert refused.value.hint


@pytest.mark.parametrize("host", ["::", "192.168.1.4", "example.org", "", "127.0.0.1.example.org", "::ffff:192.0.2.1"])
def test_without_a_key_nothing_but_loopback_is_bound(host: str) -> None:
    with pytest.raises(BadConfiguration):
        checked_access(KEYLESS, host, insecure_loopback=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_every_form_of_loopback_can_be_served_for_an_experiment(host: str) -> None:
    assert checked_access(KEYLESS, host, insecure_loopback=True)


def test_production_never_serves_without_a_key() -> None:
    settings = load({}, profile="production")
    with pytest.raises(BadConfiguration, match="Production"):
        checked_access(settings, "127.0.0.1", insecure_loopback=True)


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        ("viewer", {"read"}),
        ("operator", {"read", "data", "train", "predict"}),
        ("admin", {"read", "data", "train", "predict", "deploy", "admin"}),
    ],
)
def test_a_key_has_the_scopes_of_its_role(role: str, scopes: set[str]) -> None:
    caller = Access(KeyRing.from_settings(keyed())).identify(bearer(KEYS[role]), ELSEWHERE)
    assert (caller.id, caller.scopes) == (f"key:{role}-person", scopes)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_nothing_but_a_key_is_a_key(guess: str) -> None:
    access = Access(KeyRing.from_settings(keyed()))
    with pytest.raises(Unauthenticated):
        access.identify(bearer(guess), CLIENT)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", f"Basic {KEYS['admin']}".encode())],
        [(b"authorization", KEYS["admin"].encode())],
        [(b"x-api-key", b"")],
        [(b"x-api-key", KEYS["admin"].encode() + b"x")],
        [(b"x-api-key", KEYS["admin"].encode()[:-1])],
        [*bearer(KEYS["admin"]), (b"x-api-key", KEYS["viewer"].encode())],
        [*bearer(KEYS["admin"]), *bearer(KEYS["viewer"])],
        [(b"authorization", b"Bearer \xff\xfe")],
        [(b"x-api-key", b"x" * 10_000)],
    ],
)
def test_a_missing_broken_or_ambiguous_key_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated):
        Access(KeyRing.from_settings(keyed())).identify(headers, CLIENT)


def test_a_key_may_come_in_either_header_or_in_both() -> None:
    access = Access(KeyRing.from_settings(keyed()))
    plain = [(b"x-api-key", KEYS["viewer"].encode())]
    assert access.identify(plain, CLIENT) == access.identify([*plain, *bearer(KEYS["viewer"])], CLIENT)


def test_the_ring_holds_no_key() -> None:
    ring = KeyRing.from_settings(keyed())
    held = repr(vars(ring)).encode()
    assert not any(key.encode() in held for key in KEYS.values())


def test_insecure_loopback_serves_this_machine_only() -> None:
    access = Access(KeyRing([]), insecure_loopback=True)
    assert access.identify([], CLIENT).id == "loopback"
    with pytest.raises(Unauthenticated):
        access.identify([], ELSEWHERE)


def test_insecure_loopback_doesn_t_forgive_a_wrong_key() -> None:
    access = Access(KeyRing.from_settings(keyed()), insecure_loopback=True)
    with pytest.raises(Unauthenticated):
        access.identify(bearer("wrong"), CLIENT)


@pytest.mark.parametrize("path", ["/mcp", "/readyz", "/startupz", "/metrics", "/", "/docs", "/openapi.json", "/livez/"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT"])
def test_every_route_but_livez_needs_a_key(web: Running, method: str, path: str) -> None:
    answer = web.request(method, path, headers={"authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="courtside"'


def test_livez_needs_none(web: Running) -> None:
    assert web.request("GET", "/livez", headers={"authorization": "", "host": "10.1.2.3"}).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_tool_learns_who_called(web: Running, role: str) -> None:
    headers: dict[str, Any] = {"authorization": f"Bearer {KEYS[role]}"}
    answer = web.rpc("tools/call", {"name": "who_am_i", "arguments": {}}, headers=headers).json()
    assert answer["result"]["content"][0]["text"].startswith(f"key:{role}-person ")


def test_without_a_key_this_machine_is_the_loopback_caller() -> None:
    with running(KEYLESS, insecure_loopback=True) as here:
        assert here.call("who_am_i").startswith("loopback ")
