"""The first code that a request meets: pure ASGI, in front of every route.

In this order: header bounds, Host, Origin, key, then the body, whole, in time and in size, and what is meant for MCP
as strict JSON. Which route a request is for is read from the path alone, never from a URL that the Host header is part
of.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from time import monotonic
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server import log
from mcp_server.context import Caller
from mcp_server.errors import Unauthenticated
from mcp_server.guard.wire import INVALID_REQUEST, SLOW_BYTES, WireError, check_message
from mcp_server.web.access import CALLER, Access
from mcp_server.web.hosts import HostPolicy
from mcp_server.web.limits import HttpLimits

MCP_PATH = "/mcp"
LIVE_PATH = "/livez"
SERVED = frozenset({MCP_PATH, LIVE_PATH, "/readyz", "/startupz", "/metrics"})
LISTEN = "subscriptions/listen"
INITIALIZE = "initialize"
SESSION = b"mcp-session-id"
LINGER_SECONDS = 1.0
LINGER_BYTES = 16 * 1024 * 1024
MOST_OWNERS = 1_000

Fields = Mapping[bytes, list[bytes]]

_log = log.get("courtside.web")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")


class Refusal(Exception):
    """A request that no route sees."""

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = headers

    def body(self) -> bytes:
        return orjson.dumps({"error": {"code": self.code, "message": self.message, "hint": self.hint}})


@dataclass(slots=True)
class Lifecycle:
    """Where the server is between start and end.

    Args:
        started: the application has started and was ready once.
        draining: it's about to stop: not ready, but still serving.
        stopping: set when what would never end by itself has to: open event streams.
    """

    started: bool = False
    draining: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Owner:
    """Who opened a session, and when it was last used (seconds, monotonic)."""

    caller: str
    seen: float = 0.0


class Edge:
    """The guard in front of the routes.

    Args:
        app: what serves an admitted request.
        mcp: what serves one for MCP; asked directly, since `app` would take longer to find it than the guard takes.
        access: who may call.
        hosts: which Host and Origin are ours.
        limits: bounds on headers and body.
        lifecycle: shared with the server, which stops it.
    """

    def __init__(
        self, app: ASGIApp, *, mcp: ASGIApp, access: Access, hosts: HostPolicy, limits: HttpLimits, lifecycle: Lifecycle
    ) -> None:
        self._app = app
        self._mcp = mcp
        self._access = access
        self._hosts = hosts
        self._limits = limits
        self._lifecycle = lifecycle
        self._owners: OrderedDict[str, Owner] = OrderedDict()
        self._streams: Counter[str] = Counter()
        self._places = count()
        self._running: set[tuple[bytes, Any] | None] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == LIVE_PATH:
            # Answered for whoever asks, by whatever name: it says only that the event loop turns.
            await _respond(send, 200, b'{"status":"alive"}', (_JSON, _CLOSE))
            return
        fields = _fields(scope)
        try:
            caller = self._admit(scope, fields)
            if scope["path"] not in SERVED:
                # Exactly these: a route that also matches "/mcp\n" would get around what is checked for "/mcp".
                raise Refusal(404, "E_NOT_FOUND", "There is nothing at this address.", "MCP is served at /mcp.")
            body = await self._read(fields, receive)
            if body is None:
                return
            message = await self._checked(scope, body)
            running = self._running_id(fields, message)
            streaming = scope["path"] == MCP_PATH and (scope["method"] == "GET" or message.get("method") == LISTEN)
            opening = message.get("method") == INITIALIZE and SESSION not in fields
            self._check_share(caller, opening=opening, streaming=streaming)
        except Refusal as refusal:
            _log.info(
                "request refused",
                status=refusal.status,
                code=refusal.code,
                path=scope["path"][:128],
                message=refusal.message,
            )
            await _refuse(refusal, receive, send)
            return
        except WireError as error:
            await _respond(send, 400, error.reply(), (_JSON,))
            return
        scope.setdefault("state", {})["caller"] = caller
        token = CALLER.set(caller)
        self._running.add(running)
        self._streams[caller.id] += streaming
        place = self._place(caller) if opening else None
        try:
            outgoing = self._outgoing(caller, running, place, send)
            if streaming:
                await self._stream(scope, _replayed(body, self._until_stopped(receive)), outgoing)
            else:
                serving = self._mcp if scope["path"] == MCP_PATH else self._app
                await serving(scope, _replayed(body, receive), outgoing)
            if scope["method"] == "DELETE" and scope["path"] == MCP_PATH:
                self._owners.pop(_text(fields.get(SESSION, [b""])[0]), None)
        finally:
            self._streams[caller.id] -= streaming
            self._owners.pop(place or "", None)
            self._running.discard(running)
            CALLER.reset(token)

    def _admit(self, scope: Scope, fields: Fields) -> Caller:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        limits = self._limits
        size = 4 * len(headers) + sum(map(len, chain.from_iterable(headers)))
        if len(headers) > limits.headers or size > limits.header_bytes:
            raise Refusal(431, "E_SIZE", f"At most {limits.headers} headers of {limits.header_bytes:,} bytes are read.")
        if not self._hosts.allows_host(fields.get(b"host", [])):
            raise Refusal(
                421,
                "E_AUTH",
                "This server doesn't answer to that Host.",
                "COURTSIDE_ALLOWED_HOSTS lists further names.",
            )
        if not self._hosts.allows_origin(fields.get(b"origin", [])):
            raise Refusal(
                403,
                "E_AUTH",
                "That Origin isn't allowed.",
                "COURTSIDE_ALLOWED_ORIGINS lists the web pages that may call.",
            )
        try:
            caller = self._access.identify(headers, scope.get("client"))
        except Unauthenticated as refused:
            challenge = (b"www-authenticate", b'Bearer realm="courtside"')
            raise Refusal(401, refused.code, refused.message, refused.hint, (challenge,)) from None
        if scope["path"] == MCP_PATH:
            self._check_session(fields, caller)
        return caller

    def _check_session(self, fields: Fields, caller: Caller) -> None:
        """A session serves only who opened it; to anyone else it doesn't exist."""
        for session in fields.get(SESSION, ()):
            owner = self._owners.get(_text(session))
            if owner is None or owner.caller != caller.id:
                raise Refusal(404, "E_NOT_FOUND", "There is no such session.", "Initialize a new one.")
            owner.seen = monotonic()

    def _check_share(self, caller: Caller, *, opening: bool, streaming: bool) -> None:
        """What stays open is shared: one caller can't take all of it."""
        most = self._limits.caller_streams
        if streaming and self._streams[caller.id] >= most:
            raise Refusal(429, "E_BUSY", f"You have {most} event streams open.", "Close one, then open another.")
        most = self._limits.caller_sessions
        if opening and self._open_sessions(caller) >= most:
            raise Refusal(
                429, "E_BUSY", f"You have {most} sessions open.", "End one with DELETE, or wait for idle ones."
            )

    def _open_sessions(self, caller: Caller) -> int:
        since = monotonic() - self._limits.session_idle_seconds
        return sum(owner.caller == caller.id and owner.seen > since for owner in self._owners.values())

    def _place(self, caller: Caller) -> str:
        """Hold a place for a session until its id is known: of many opened at once, each would find room."""
        place = f" {next(self._places)}"  # no header's value begins with a space
        self._remember(place, caller)
        return place

    async def _read(self, fields: Fields, receive: Receive) -> bytes | None:
        """The whole body, or None where the client has gone."""
        limit = self._limits.body_bytes
        too_large = Refusal(413, "E_SIZE", f"The body is larger than {limit:,} bytes.", "Send less at once.")
        declared = fields.get(b"content-length")
        if declared and (len(declared[0]) > 12 or int(declared[0]) > limit):
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, "E_DEADLINE", "The body didn't arrive in time.", "Send it without pauses.") from None

    async def _checked(self, scope: Scope, body: bytes) -> dict[str, Any]:
        """What is meant for MCP, as a strict message; empty for anything else."""
        if scope["path"] != MCP_PATH or scope["method"] != "POST":
            return {}
        return await asyncio.to_thread(check_message, body) if len(body) > SLOW_BYTES else check_message(body)

    def _running_id(self, fields: Fields, message: dict[str, Any]) -> tuple[bytes, Any] | None:
        """The request's id in its session, where it has one; in a session, two of the same would share one answer."""
        sessions = fields.get(SESSION)
        if not sessions or "id" not in message or "method" not in message:
            return None
        running = (sessions[0], message["id"])
        if running in self._running:
            raise WireError(INVALID_REQUEST, "A request with this id is still running in this session.", message["id"])
        return running

    def _outgoing(self, caller: Caller, running: tuple[bytes, Any] | None, place: str | None, send: Send) -> Send:
        async def outgoing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                for name, value in headers:
                    if name == SESSION:
                        self._owners.pop(place or "", None)
                        self._remember(_text(value), caller)
                message = {**message, "headers": [*headers, (b"x-content-type-options", b"nosniff")]}
            elif not message.get("more_body", False):
                self._running.discard(running)  # before the client can know the answer and use the id again
            await send(message)

        return outgoing

    def _remember(self, session: str, caller: Caller) -> None:
        self._owners.setdefault(session, Owner(caller.id)).seen = monotonic()
        self._owners.move_to_end(session)
        if len(self._owners) > MOST_OWNERS:
            self._owners.popitem(last=False)

    def _until_stopped(self, receive: Receive) -> Receive:
        """To an endless stream, a stopping server looks like a client that has gone."""

        async def until_stopped() -> Message:
            message = asyncio.ensure_future(receive())
            stop = asyncio.ensure_future(self._lifecycle.stopping.wait())
            try:
                await asyncio.wait((message, stop), return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()
                stop.cancel()

        return until_stopped

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a stream, and end it properly where it was cut short."""
        state = {"open": False}

        async def watched(message: Message) -> None:
            state["open"] = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        await self._mcp(scope, receive, watched)
        if state["open"]:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _fields(scope: Scope) -> Fields:
    """Every value of each header."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name, []).append(value)
    return found


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replayed() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replayed


async def _respond(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(refusal: Refusal, receive: Receive, send: Send) -> None:
    body = refusal.body()
    headers = [_JSON, (b"content-length", str(len(body)).encode()), _CLOSE, *refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if refusal.status != 408:
        await _linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _linger(receive: Receive) -> None:
    """Read on for a moment: closing on a client that still sends would destroy the answer on its way."""
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
