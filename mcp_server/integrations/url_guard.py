"""Which web addresses may be read: their form, and where their host leads.

A host name is resolved once, every address that it has must be on the public internet, and the connection goes to an
address that was checked. So neither an odd spelling nor a name that answers differently the second time leads inside.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote, urljoin

from mcp_server.errors import DataRejected

Resolver = Callable[[str, int], Awaitable[Iterable[str]]]
"""(host, port) -> the addresses of the host, as text. Raises OSError where it has none."""

PORTS = {"https": 443, "http": 80}
MOST_CHARACTERS = 4_096
MOST_ADDRESSES = 16
MOST_NAME = 255

_FORM = re.compile(r"(https?)://([^/?#\\]+)((?:[/?][^#]*)?)\Z", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]+\Z")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?\Z", re.IGNORECASE)
_NAME = re.compile(r"(?!.{254})(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_SECRET = re.compile(
    r"token|key|sig|secret|pass|pwd|auth|cred|session|sid|code|jwt|hash|hmac|policy|ticket|bearer|nonce|otp|pin",
    re.IGNORECASE,
)
# Some servers take a semicolon for `&`.
_PARTS = re.compile(r"[^&;]+")
# What is longer is a credential more often than not.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,20}\Z")
_BLANK = "***"

# `ipaddress` calls several of these global, and knows others only in later versions of Python.
_INSIDE_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by customers of one provider
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's own services, behind an address that looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation, as are 198.51.100.0/24 and 203.0.113.0/24
        "192.88.99.0/24",  # relays from IPv6
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# What isn't in the block of global unicast is refused whole: mapped, compatible, translated, local and multicast.
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_INSIDE_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # IPv4 inside
        "3ffe::/16",
        "3fff::/20",
    )
)


def is_public(text: str) -> bool:
    """Whether an address is on the public internet; anything that isn't an address isn't.

    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("2002:7f00:1::"), is_public("fe80::1%eth0")
    (True, False, False, False)
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _INSIDE_4)
    if address.scope_id is not None:
        return False
    return address in _GLOBAL_6 and not any(address in network for network in _INSIDE_6)


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL of the accepted form, in parts.

    Args:
        scheme: `https` or `http`.
        host: lower case; an IPv6 address stands without brackets.
        target: path and query, at least `/`.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def text(self) -> str:
        """The URL, to be asked for."""
        return self._with(self.target)

    @property
    def public_text(self) -> str:
        """The URL as it may be stored and shown: of its query, only short plain values under harmless names."""
        path, mark, query = self.target.partition("?")
        return self._with(f"{path}?{_PARTS.sub(_shown, query)}") if mark else self.text

    @property
    def name(self) -> str:
        """The last part of the path, for a file's name: printable, at most 255 characters; it may be empty."""
        last = unquote(self.target.partition("?")[0].rpartition("/")[2])
        return "".join(letter for letter in last if letter.isprintable())[:MOST_NAME]

    def _with(self, target: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{target}"


async def system_resolver(host: str, port: int) -> list[str]:
    """What the system says that a host's addresses are."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class UrlGuard:
    """The rules for one server.

    Args:
        hosts: the hosts that may be read, in lower case; `.example.org` stands for every host under it. Empty for
            every public one.
        plain_hosts: hosts that may be read over http, without encryption.
        resolve: tells a host's addresses.
        exempt: (address, port) pairs that may be reached although they aren't public: for tests, which have a server
            on the loopback address; no setting leads here.
    """

    hosts: tuple[str, ...] = ()
    plain_hosts: tuple[str, ...] = ()
    resolve: Resolver = system_resolver
    exempt: frozenset[tuple[str, int]] = frozenset()

    def read(self, text: str, *, base: WebAddress | None = None) -> WebAddress:
        """Take a URL apart and check its form.

        Args:
            text: the URL; with `base`, one relative to it, as in a redirect.
        Raises:
            DataRejected: `E_URL`.
        """
        if len(text) > MOST_CHARACTERS or not _PRINTABLE.match(text) or "\\" in text:
            _refuse("The address has characters that an address can't have.", "Write them percent-encoded, in ASCII.")
        if text.lower().startswith("file:"):
            _refuse("The address is of a file of this machine.", "Give the plain path, without file://.")
        parts = _FORM.match(text if base is None else _joined(base, text))
        if parts is None:
            _refuse(
                "The address isn't of the form https://host/path.", "Give an https address without user name or #part."
            )
        scheme, authority, target = parts[1].lower(), parts[2], parts[3]
        if "@" in authority:
            _refuse(
                "The address holds a user name or password.", "Leave it out: credentials aren't taken in an address."
            )
        host, port = _host_and_port(authority, PORTS[scheme])
        if scheme == "http" and not _listed(host, self.plain_hosts):
            _refuse("The address isn't https.", "Use https, or allow the host in COURTSIDE_HTTP_HOSTS.")
        if port not in {PORTS[scheme], *(port for _, port in self.exempt)}:
            _refuse("The address names a port.", "Only the usual ports are read: 443 for https, 80 for http.")
        if self.hosts and not _listed(host, self.hosts):
            _refuse("The host isn't one that may be read.", "COURTSIDE_URL_HOSTS lists those that may.")
        return WebAddress(scheme, host, port, target if target.startswith("/") else f"/{target}")

    async def addresses(self, address: WebAddress) -> tuple[str, ...]:
        """Where to connect to.

        Returns:
            the addresses of the host, each of them checked; at least one.
        Raises:
            DataRejected: `E_URL`; one of them isn't public.
            OSError: the host has no address, or nobody could tell it.
        """
        literal = _is_address(address.host)
        found = [address.host] if literal else list(dict.fromkeys(await self.resolve(address.host, address.port)))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        # One that isn't public spoils all: which of several is connected to isn't to be left to chance.
        if len(found) > MOST_ADDRESSES or not all(
            is_public(one) or (one, address.port) in self.exempt for one in found
        ):
            _refuse("The host isn't on the public internet.", "Only public hosts are read. Import the table as a file.")
        return tuple(found)


def _shown(part: re.Match[str]) -> str:
    """One part of a query as it may be shown."""
    name, sign, value = part[0].partition("=")
    # Servers decode names, some of them twice.
    secret = _SECRET.search(unquote(unquote(name)))
    known = name if _PLAIN.match(name) else _BLANK
    if not sign:
        return _BLANK if secret else known
    return f"{known}={value if not value or (not secret and _PLAIN.match(value)) else _BLANK}"


def _joined(base: WebAddress, text: str) -> str:
    try:
        return urljoin(base.text, text)
    except ValueError:  # brackets that hold no address
        return ""


def _host_and_port(authority: str, usual: int) -> tuple[str, int]:
    parts = _AUTHORITY.match(authority)
    if parts is None:
        _refuse("The host of the address can't be read.", "Give an https address such as https://example.org/a.csv.")
    host = parts[1].lower()
    if host.startswith("["):
        host = host[1:-1]
        if ":" not in host or not _is_address(host):
            _refuse("The host of the address can't be read.", "Give the host's name.")
    elif not _is_address(host) and not _NAME.match(host):
        # Numbers in other spellings, such as 2130706433 or 0x7f.1, and names without a dot.
        _refuse("The host is neither a full name nor an address as 192.0.2.1.", "Give the host's full name.")
    return host, usual if parts[2] is None else int(parts[2])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _listed(host: str, allowed: Iterable[str]) -> bool:
    return any(host == one or (one.startswith(".") and host.endswith(one)) for one in map(str.lower, allowed))


def _refuse(message: str, hint: str) -> NoReturn:
    raise DataRejected("E_URL", message, hint=hint)
