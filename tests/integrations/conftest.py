"""A place to download from, for every test of downloads."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integrations.loopback import certificate, served
from integrations.place import HOSTS, Place


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), HOSTS)


@pytest.fixture
async def place(request: pytest.FixtureRequest, identity, tmp_path: Path) -> AsyncIterator[Place]:
    tls, trust = identity
    folder = tmp_path / "download"
    folder.mkdir()
    async with served({}, tls=tls) as server:
        yield Place(server, trust, folder)
