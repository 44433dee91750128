"""Who a request comes from, and whether the server may listen at all."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from mcp_server.context import Caller
from mcp_server.errors import BadConfiguration, Unauthenticated
from mcp_server.guard.calls import LOCAL
from mcp_server.log import register_secret
from mcp_server.settings import Profile, Settings, parse_api_keys
from mcp_server.web.hosts import is_loopback

ALL_SCOPES = frozenset({"read", "data", "train", "predict", "deploy", "admin"})
SCOPES = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "data", "train", "predict"}),
    "admin": ALL_SCOPES,
}
LOOPBACK = Caller("loopback", ALL_SCOPES)
LONGEST_KEY = 512


def principal(id: str, settings: Settings) -> Caller | None:
    """Who an id that was stored with something is now; None where it's a key that these settings don't have.

    Whoever called without a key, as a loopback server can let them, is nobody where keys are needed.
    """
    if id == LOCAL.id or (id == LOOPBACK.id and settings.api_keys is None):
        return Caller(id, ALL_SCOPES)
    keys = parse_api_keys(settings.api_keys) if settings.api_keys is not None else []
    return next((Caller(id, SCOPES[role]) for name, role, _ in keys if id == f"key:{name}"), None)


CALLER: ContextVar[Caller | None] = ContextVar("courtside_http_caller", default=None)
"""The caller of the request that is being served; also in the ASGI scope's state as `caller`."""

Headers = Iterable[tuple[bytes, bytes]]


class KeyRing:
    """API keys, held as keyed hashes only.

    Args:
        keys: (name, role, key) triples.
    """

    def __init__(self, keys: Iterable[tuple[str, str, str]]) -> None:
        self._pepper = secrets.token_bytes(32)
        self._callers = tuple((self._hash(key), Caller(f"key:{name}", SCOPES[role])) for name, role, key in keys)

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyRing:
        """The keys of `COURTSIDE_API_KEYS`; each is also kept out of the logs from here on."""
        triples = parse_api_keys(settings.api_keys) if settings.api_keys is not None else []
        for _, _, key in triples:
            register_secret(key)
        return cls(triples)

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, key: str) -> Caller | None:
        """Whose key it is. Every entry is compared in constant time, so timing tells nothing about any of them."""
        given = self._hash(key)
        found = None
        for held, caller in self._callers:
            if hmac.compare_digest(held, given):
                found = caller
        return found

    def _hash(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=self._pepper, digest_size=32).digest()


class Access:
    """Decides who calls.

    Args:
        ring: the keys.
        insecure_loopback: serve clients on this machine without a key.
    """

    def __init__(self, ring: KeyRing, *, insecure_loopback: bool = False) -> None:
        self._ring = ring
        self._insecure = insecure_loopback

    def identify(self, headers: Headers, client: Sequence[object] | None) -> Caller:
        """The caller of a request.

        Args:
            headers: names in lower case, as ASGI has them.
            client: the peer's (address, port).
        Raises:
            Unauthenticated: no key, two different ones, an unknown one, or a client from elsewhere without a key.
        """
        keys = _keys(headers)
        if len(keys) == 1 and len(self._ring):
            caller = self._ring.caller(keys.pop())
            if caller is not None:
                return caller
        elif self._insecure and (not keys or not len(self._ring)) and client and is_loopback(str(client[0])):
            return LOOPBACK
        raise Unauthenticated(
            "No valid API key was given.", hint="Send Authorization: Bearer <key>, or X-API-Key: <key>."
        )


def _keys(headers: Headers) -> set[str]:
    found = set()
    for name, value in headers:
        if name == b"x-api-key":
            found.add(value.decode("latin-1").strip())
        elif name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            # Another scheme counts as a key that nobody has: it must not pass as "no key at all".
            found.add(key.strip() if scheme.lower() == "bearer" else "")
    return {key[: LONGEST_KEY + 1] for key in found}


def checked_access(settings: Settings, host: str, *, insecure_loopback: bool) -> Access:
    """The access rule for a server on `host`.

    Raises:
        BadConfiguration: anyone could use the server: no key where one is needed, or `--insecure-loopback` beyond
            this machine or in production.
    """
    ring = KeyRing.from_settings(settings)
    if insecure_loopback and not is_loopback(host):
        raise BadConfiguration(
            "--insecure-loopback is for 127.0.0.1 only: on this address anyone could call every tool.",
            hint="Bind 127.0.0.1, or set COURTSIDE_API_KEYS and leave the option out.",
        )
    if insecure_loopback and settings.profile is Profile.production:
        raise BadConfiguration("Production doesn't serve without a key.", hint="Set COURTSIDE_API_KEYS.")
    if not len(ring) and not insecure_loopback:
        raise BadConfiguration(
            "HTTP isn't served without an API key, also not on this machine: any web page could call it.",
            hint="Set COURTSIDE_API_KEYS=name:role:key, or use --insecure-loopback on 127.0.0.1 for an experiment.",
        )
    return Access(ring, insecure_loopback=insecure_loopback)
