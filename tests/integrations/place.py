"""A loopback server with TLS, and what a download needs to reach it and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integrations.loopback import Loopback, recorded_connects, trusting
from mcp_server.errors import DataRejected
from mcp_server.integrations.download import Fetched, fetch
from mcp_server.integrations.url_guard import UrlGuard

TABLE = b"a,b\n1,2\n3,4\n"
MOST = 100_000
HOSTS = ["data.test", "other.test", "plain.test", "127.0.0.1"]


class Place:
    """A loopback server with TLS, and what a download needs to reach it and nothing else.

    Args:
        answers: host to the addresses that it's given, one list for each time it's asked; the last again and again.
    """

    def __init__(self, server: Loopback, trust: Path, folder: Path) -> None:
        self.server = server
        self.trust = trust
        self.file = folder / "file"
        self.answers: dict[str, list[list[str]]] = {}
        self.resolved: list[str] = []
        self.slept: list[float] = []
        self.connects: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        listed = self.answers.get(host, [["127.0.0.1"]])
        return listed.pop(0) if len(listed) > 1 else listed[0]

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def url(self, path: str, host: str = "data.test", scheme: str = "https") -> str:
        return f"{scheme}://{host}:{self.server.port}{path}"

    async def fetch(self, url: str, **options: Any) -> Fetched | None:
        guard = UrlGuard(
            plain_hosts=("plain.test",),
            resolve=self.resolve,
            exempt=frozenset({("127.0.0.1", self.server.port)}),
        )
        given: dict[str, Any] = {"most_bytes": MOST, "tls": trusting(self.trust), "sleep": self.sleep, **options}
        with recorded_connects() as self.connects:
            return await fetch(url, self.file, guard=guard, **given)

    async def refused(self, url: str, **options: Any) -> DataRejected:
        """The refusal of a download that must fail and leave nothing."""
        with pytest.raises(DataRejected) as caught:
            await self.fetch(url, **options)
        assert list(self.file.parent.iterdir()) == []
        assert set(self.connects) <= {("127.0.0.1", self.server.port)}
        return caught.value
