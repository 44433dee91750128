"""Which Host and Origin headers are ours.

A page in a browser can be made to resolve its own name to 127.0.0.1 and talk to a local server. Its requests carry that
name as Host, and its origin as Origin: exact lists of both keep it out, whatever port it came from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

ANY = "*"
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORT = 80


class HostPolicy:
    """Exact allow-lists, in lower case; `*` in one of them allows everything, for development only.

    Args:
        hosts: Host header values.
        origins: Origin header values.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    @classmethod
    def for_bind(
        cls, host: str, port: int, *, allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = ()
    ) -> HostPolicy:
        """The policy of a server that listens on `host:port`: its own names with that port, and what is listed.

        A listed host without a port is allowed bare, as a proxy sends it, and with our port.
        """
        own = [f"{name}:{port}" for name in _own_names(host)]
        if port == _DEFAULT_PORT:
            own += _own_names(host)
        listed = [form for name in allowed_hosts for form in _forms(name, port)]
        return cls([*own, *listed], [*(f"http://{name}" for name in own), *allowed_origins])

    def allows_host(self, values: Sequence[bytes]) -> bool:
        """Whether a request with these Host headers is meant for us: there must be exactly one."""
        if ANY in self.hosts:
            return True
        return len(values) == 1 and values[0].decode("latin-1").lower() in self.hosts

    def allows_origin(self, values: Sequence[bytes]) -> bool:
        """Whether a request with these Origin headers may be served: none (not a browser), or one that is listed."""
        if not values or ANY in self.origins:
            return True
        return len(values) == 1 and values[0].decode("latin-1").lower() in self.origins


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`: a loopback address, or the name localhost."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped is not None and mapped.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _own_names(host: str) -> list[str]:
    bracketed = f"[{host.strip('[]')}]" if ":" in host else host
    address = _address(host)
    wildcard = not host or (address is not None and address.is_unspecified)
    names = list(_LOOPBACK_NAMES) if wildcard or is_loopback(host) else []
    return names if wildcard or bracketed in names else [*names, bracketed]


def _forms(name: str, port: int) -> list[str]:
    has_port = name.rpartition("]")[2].count(":") == 1
    return [name] if has_port or name == ANY else [name, f"{name}:{port}"]
