"""A web server on the loopback address that plays scripts, and a record of every connection this process makes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Headers = dict[str, str]
Script = Callable[[asyncio.StreamWriter, Headers], Awaitable[None]]

_watching: list[list[tuple[str, int]]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _watching and isinstance(arguments[1], tuple):
        for connects in _watching:
            connects.append((str(arguments[1][0]), int(arguments[1][1])))


sys.addaudithook(_watch)


@contextmanager
def recorded_connects() -> Iterator[list[tuple[str, int]]]:
    """Every (address, port) that any socket of this process is connected to, as the interpreter itself reports it."""
    connects: list[tuple[str, int]] = []
    _watching.append(connects)
    try:
        yield connects
    finally:
        _watching.remove(connects)


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> Script:
    """Answer with a body of the right length; a header's name is written with underscores."""

    async def play(writer: asyncio.StreamWriter, _: Headers) -> None:
        told = {"content-length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
        lines = "".join(f"{name}: {text}\r\n" for name, text in told.items())
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    return play


def redirect(location: str, status: str = "302 Found") -> Script:
    return answer(status=status, location=location)


def raw(*parts: bytes, between: float = 0.0, cut: bool = False) -> Script:
    """Send bytes as they are; `cut` resets the connection after them."""

    async def play(writer: asyncio.StreamWriter, _: Headers) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(between)
        if cut:
            writer.transport.abort()

    return play


class Loopback:
    """What the server plays and what it was asked.

    Args:
        scripts: path to what is played at each request, in order; the last is played again and again.
    """

    def __init__(self, scripts: dict[str, list[Script]]) -> None:
        self.scripts = scripts
        self.asked: list[tuple[str, Headers]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1].partition("?")[0]
            headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in head[1:] if line)}
            self.asked.append((path, headers))
            played = self.scripts[path]
            await (played.pop(0) if len(played) > 1 else played[0])(writer, headers)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(
    scripts: dict[str, Script | list[Script]], *, tls: ssl.SSLContext | None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Loopback]:
    """Play scripts until the block ends."""
    loopback = Loopback({path: list(one) if isinstance(one, list) else [one] for path, one in scripts.items()})
    server = await asyncio.start_server(loopback.serve, host, port, ssl=tls)
    loopback.port = server.sockets[0].getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()


def certificate(
    folder: Path, names: list[str], *, begins: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=1)
) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for these names, and the file of the certificate, for whoever is to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    listed = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName(listed), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{names[0]}-{x509.random_serial_number():x}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file


def trusting(file: Path) -> ssl.SSLContext:
    """A client's side of TLS that trusts one certificate alone."""
    return ssl.create_default_context(cafile=str(file))


def as_libc(host: str) -> str | None:
    """The IPv4 address that the C library reads out of an unusual spelling, or None."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host.partition("\0")[0]))
    except (OSError, UnicodeEncodeError):
        return None
