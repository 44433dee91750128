"""One file from the web to the disk: through the guard, within limits, and again where the failure may pass."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import httpx

from mcp_server.errors import DataRejected, DiskFull
from mcp_server.integrations.url_guard import UrlGuard, WebAddress
from mcp_server.retry import retry_with_backoff

MOST_REDIRECTS = 3
RETRIES = 2
FIRST_DELAY = 0.5
BUFFER = 1024 * 1024
MOST_TAG = 200
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (429, 500, 502, 503, 504)
# Left as they are for whoever reads the file: it bounds what comes out of them.
_KEPT_ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")
_PAGES = ("text/html", "application/xhtml+xml")
_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(?:\d{1,15}|\*)\Z")
# X509 verify results, by number: the words differ between versions of OpenSSL.
_CERTIFICATE = {10: "has expired", 9: "isn't valid yet", 18: "is self-signed", 62: "is for another host"}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a download may take, in seconds, and how slow it may be.

    Args:
        connect: to connect and agree on encryption.
        silence: to the first byte, and between any two.
        total: all attempts together.
        slowest: bytes a second, over each `window` seconds.
    """

    connect: float = 5.0
    silence: float = 10.0
    total: float = 120.0
    slowest: float = 1_000.0
    window: float = 10.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came.

    Args:
        digest: SHA-256 of the bytes on the disk, hex.
        name: the last part of the path that was asked for.
        etag, last_modified: as the server gave them, or None; to be sent back, never to be trusted.
    """

    digest: str
    size: int
    name: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an earlier version of the file, as in `Fetched`."""

    etag: str | None
    last_modified: str | None


class CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to addresses that the guard has checked, and to nothing else.

    The host's name stays in the Host header and in the certificate's check. No proxy of the environment is used: it
    would resolve the name itself.
    """

    def __init__(self, guard: UrlGuard, tls: ssl.SSLContext) -> None:
        self._guard = guard
        self._inner = httpx.AsyncHTTPTransport(
            verify=tls, trust_env=False, limits=httpx.Limits(max_connections=1, max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = self._guard.read(str(request.url))
        seconds = request.extensions["timeout"]["connect"]
        try:
            async with asyncio.timeout(seconds):
                candidates = await self._guard.addresses(address)
        except TimeoutError:
            raise httpx.ConnectTimeout("the name wasn't resolved in time") from None
        *others, last = candidates
        for candidate in others:
            try:
                return await self._inner.handle_async_request(_at(request, candidate, address.host))
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                if _tls_error(failed) is not None:
                    raise
        return await self._inner.handle_async_request(_at(request, last, address.host))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _at(request: httpx.Request, candidate: str, host: str) -> httpx.Request:
    """The same request, to one address of the host; the headers, Host among them, stay as they were."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=candidate),
        headers=request.headers,
        extensions={**request.extensions, "sni_hostname": host},
    )


class _Passing(Exception):
    """A failure that is worth another attempt, with what to say when it was the last."""

    def __init__(self, refusal: DataRejected) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def fetch(
    text: str,
    target: Path,
    *,
    guard: UrlGuard,
    most_bytes: int,
    known: Known | None = None,
    pace: Pace = Pace(),
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Fetched | None:
    """Download a file.

    Args:
        text: the URL, as a caller gave it.
        target: where the file goes; it's removed again when anything fails.
        most_bytes: the most that is taken, whatever length the server states.
        known: what is known of an earlier version; the file isn't sent again where it's still that one.
        tls: how servers are judged; the usual certificate authorities when None.
    Returns:
        what came, or None where it's unchanged.
    Raises:
        DataRejected: `E_URL` for an address that isn't read; `E_NOT_FOUND`, `E_PERMISSION`, `E_FORMAT`, `E_EMPTY`,
            `E_IO` or `E_CHANGED` for what the server answered; `E_SIZE`; `E_DEADLINE` where it's too slow;
            `E_TRANSIENT` where it failed three times in a way that may pass.
        DiskFull: the disk is full.
    """
    address = guard.read(text)
    context = await asyncio.to_thread(httpx.create_ssl_context) if tls is None else tls
    try:
        with kept_if_whole(target) as file:
            download = _Download(address, file, guard, context, most_bytes, known, pace, clock)
            attempt = retry_with_backoff(
                max_retries=RETRIES, base_delay=FIRST_DELAY, exceptions=(_Passing,), sleep=sleep
            )(download.attempt)
            async with asyncio.timeout(pace.total):
                return await attempt()
    except _Passing as last:
        raise last.refusal from None
    except TimeoutError:
        raise _too_slow() from None


@contextmanager
def kept_if_whole(target: Path) -> Iterator[BinaryIO]:
    """A file of this user's alone, open for writing; it's removed where the block fails or writes nothing."""
    with open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            yield file
            file.flush()
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        if not os.fstat(file.fileno()).st_size:
            target.unlink()


class _Download:
    """One file on its way; what has arrived stays for the next attempt."""

    def __init__(
        self,
        address: WebAddress,
        file: BinaryIO,
        guard: UrlGuard,
        tls: ssl.SSLContext,
        most_bytes: int,
        known: Known | None,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._address = address
        self._file = file
        self._guard = guard
        self._tls = tls
        self._most = most_bytes
        self._known = known
        self._pace = pace
        self._clock = clock
        self._restart(None)

    def _restart(self, etag: str | None) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self._size = 0
        self._resumable = etag

    async def attempt(self) -> Fetched | None:
        """Ask for the file, or for the rest of it, following redirects."""
        transport = CheckedTransport(self._guard, self._tls)
        try:
            return await self._follow(transport)
        except (httpx.InvalidURL, UnicodeError):  # the latter for a name that only looks like an international one
            raise _url_refused("The address can't be read.", "Check how it's written.") from None
        except (httpx.TransportError, OSError) as failed:
            _translate(failed)
        finally:
            await transport.aclose()

    async def _follow(self, transport: CheckedTransport) -> Fetched | None:
        address = self._address
        for _ in range(MOST_REDIRECTS + 1):
            response = await transport.handle_async_request(self._request(address))
            try:
                if response.status_code not in _REDIRECTS:
                    return await self._taken(response)
                if "location" not in response.headers:
                    raise _io("The server sent a redirect that leads nowhere.")
                further = self._guard.read(response.headers["location"], base=address)
            finally:
                await response.aclose()
            if address.scheme == "https" and further.scheme != "https":
                raise _url_refused("The server leads from https to http.", "Ask for an address that stays on https.")
            address = further
        raise _url_refused(f"There were more than {MOST_REDIRECTS} redirects.", "Give the address that they end at.")

    def _request(self, address: WebAddress) -> httpx.Request:
        # Nothing here identifies a person or opens a door, so that a redirect to another host takes nothing along.
        headers = {"accept": "text/csv, */*;q=0.5", "accept-encoding": "identity", "user-agent": "courtside"}
        if self._size and self._resumable:
            headers |= {"range": f"bytes={self._size}-", "if-range": self._resumable}
        elif self._known is not None:
            if self._known.etag:
                headers["if-none-match"] = self._known.etag
            if self._known.last_modified:
                headers["if-modified-since"] = self._known.last_modified
        pace = self._pace
        timeout = {"connect": pace.connect, "read": pace.silence, "write": pace.silence, "pool": pace.connect}
        return httpx.Request("GET", address.text, headers=headers, extensions={"timeout": timeout})

    async def _taken(self, response: httpx.Response) -> Fetched | None:
        status = response.status_code
        if status == 304 and self._known is not None and not self._size:
            return None
        rest = status == 206 and self._is_rest(response)
        if status != 200 and not rest:
            _refuse_status(status)
        _check_headers(response, self._most - (self._size if rest else 0))
        if not rest:
            etag = _tag(response, "etag")
            strong = etag is not None and etag.startswith('"') and response.headers.get("accept-ranges") == "bytes"
            await asyncio.to_thread(self._restart, etag if strong else None)
        await self._receive(response)
        if not self._size:
            raise DataRejected("E_EMPTY", "The server sent an empty file.", hint="Open the address in a browser.")
        return Fetched(
            self._digest.hexdigest(),
            self._size,
            self._address.name,
            _tag(response, "etag"),
            _tag(response, "last-modified"),
        )

    def _is_rest(self, response: httpx.Response) -> bool:
        """Whether a part is the one that was asked for, of the same file."""
        parts = _RANGE.match(response.headers.get("content-range", ""))
        if not self._size or parts is None:
            return False
        if int(parts[1]) != self._size or response.headers.get("etag") != self._resumable:
            raise DataRejected("E_CHANGED", "The file changed while it was read.", hint="Import it again.")
        return True

    async def _receive(self, response: httpx.Response) -> None:
        waiting: list[bytes] = []
        since, arrived, held = self._clock(), 0, 0
        try:
            # As it's on the wire: what is compressed stays so, and nothing swells in this process.
            async for part in response.aiter_raw():
                waiting.append(part)
                held += len(part)
                arrived += len(part)
                if self._size + held > self._most:
                    raise _too_large(self._most)
                if (passed := self._clock() - since) >= self._pace.window:
                    if arrived < self._pace.slowest * passed:
                        raise _too_slow()
                    since, arrived = self._clock(), 0
                if held >= BUFFER:
                    await self._write(waiting)
                    held = 0
        except httpx.TransportError:
            # The next attempt goes on from here, where the server can.
            await self._write(waiting)
            raise
        await self._write(waiting)

    async def _write(self, waiting: list[bytes]) -> None:
        block = b"".join(waiting)
        waiting.clear()
        await asyncio.to_thread(self._append, block)

    def _append(self, block: bytes) -> None:
        try:
            self._file.write(block)
            self._file.flush()
        except OSError as failed:
            if failed.errno == errno.ENOSPC:
                raise DiskFull(
                    "The disk is full; nothing was stored.", hint="Free some space, then import again."
                ) from None
            raise DataRejected("E_IO", "The file could not be written.", hint="Check the disk.") from None
        self._digest.update(block)
        self._size += len(block)


def _check_headers(response: httpx.Response, most: int) -> None:
    """Refuse by what the server says of the content, before any of it is read."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _PAGES:
        raise DataRejected(
            "E_FORMAT",
            "The server sent a web page, not a table; perhaps a page to sign in.",
            hint="Give the address of the file itself, or download it and import the file.",
        )
    if response.headers.get("content-encoding", "").strip().lower() not in _KEPT_ENCODINGS:
        raise DataRejected(
            "E_FORMAT",
            "The server sent the file in a compression that isn't read.",
            hint="Download it and import the file.",
        )
    stated = response.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:18]) > most:
        raise _too_large(most)


def _tag(response: httpx.Response, name: str) -> str | None:
    value = response.headers.get(name, "")
    return value if 0 < len(value) <= MOST_TAG and value.isascii() and value.isprintable() else None


def _refuse_status(status: int) -> NoReturn:
    if status in _PASSING:
        raise _Passing(_passing(f"The server answered with status {status}, three times."))
    if status in (401, 403, 407):
        raise DataRejected(
            "E_PERMISSION",
            f"The server doesn't give the file out without signing in (status {status}).",
            hint="Download it with your account and import the file.",
        )
    if status in (404, 410):
        raise DataRejected("E_NOT_FOUND", "There is no file at that address.", hint="Check the address.")
    if status in (204, 205):
        raise DataRejected("E_EMPTY", "The server sent no content.", hint="Open the address in a browser.")
    raise _io(f"The server answered with status {status}, which isn't a whole file.")


def _translate(failed: Exception) -> NoReturn:
    """Say what a failed connection means; raises always."""
    tls = _tls_error(failed)
    if tls is not None:
        if isinstance(tls, ssl.SSLCertVerificationError):
            what = _CERTIFICATE.get(tls.verify_code, "isn't from an authority that is trusted here")
            message = f"The server's certificate {what}."
        else:
            message = "The server and this one can't agree on an encrypted connection."
        raise _url_refused(message, "Check the address; its certificate has to be mended by whoever runs it.") from None
    if isinstance(failed, socket.gaierror) and failed.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
        raise DataRejected("E_NOT_FOUND", "There is no host of that name.", hint="Check the address.") from None
    if isinstance(failed, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        raise _io("The server's answer isn't proper HTTP.") from None
    if isinstance(failed, httpx.TimeoutException):
        message = "The server didn't answer in time, three times."
    elif isinstance(failed, httpx.ReadError | httpx.RemoteProtocolError):
        message = "The server broke the connection off, three times."
    else:
        message = "The server can't be reached, three times."
    raise _Passing(_passing(message)) from None


def _tls_error(failed: BaseException) -> ssl.SSLError | None:
    """What was wrong with the encryption, where that's why there is no connection."""
    seen: BaseException | None = failed if isinstance(failed, httpx.ConnectError) else None
    while seen is not None and not isinstance(seen, ssl.SSLError):
        seen = seen.__cause__ or seen.__context__
    return None if isinstance(seen, ssl.SSLWantReadError | ssl.SSLWantWriteError) else seen


def _passing(message: str) -> DataRejected:
    return DataRejected("E_TRANSIENT", message, hint="Try again later, or download it and import the file.")


def _io(message: str) -> DataRejected:
    return DataRejected("E_IO", message, hint="Open the address in a browser, or download it and import the file.")


def _url_refused(message: str, hint: str) -> DataRejected:
    return DataRejected("E_URL", message, hint=hint)


def _too_large(most: int) -> DataRejected:
    return DataRejected(
        "E_SIZE",
        f"The file has more than the {most:,} bytes that are allowed.",
        hint="Import a part of it, or raise COURTSIDE_MAX_IMPORT_MIB.",
    )


def _too_slow() -> DataRejected:
    return DataRejected(
        "E_DEADLINE", "The server sends too slowly.", hint="Download it, then import the file from an allowed folder."
    )
