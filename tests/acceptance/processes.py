"""Real server processes for tests: started as a client starts them, ended for certain."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters

from jobs.waiting import until
from mcp_server import settings
from mcp_server.jobs.lock import FolderLock
from mcp_server.server import build_server

ERAS = ("auto", "legacy")
TRANSPORTS = ("stdio", "http")


def environment(data_dir: Path, **stated: str) -> dict[str, str]:
    """The environment of a server that keeps everything in `data_dir`."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("COURTSIDE_")}
    allowed = data_dir / "files"
    allowed.mkdir(parents=True, exist_ok=True)
    return {
        **base,
        "COURTSIDE_PROFILE": "test",
        "COURTSIDE_DATA_DIR": str(data_dir / "data"),
        "COURTSIDE_ALLOWED_DIRS": str(allowed),
        "COURTSIDE_WORKER_IDLE_SECONDS": "20",
        **{f"COURTSIDE_{name.upper()}": value for name, value in stated.items()},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def http_server(command: list[str], port: int, env: dict[str, str], log: Path) -> Iterator[str]:
    """Run a server until the block ends; yields the address of its MCP endpoint."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
    try:
        until_live(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_live(port: int, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    """Wait for /livez; fail as soon as the process ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1) as page:
            if page.status == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("the server didn't come up")


@asynccontextmanager
async def stdio_client(arguments: list[str], env: dict[str, str], era: str, log: Path) -> AsyncIterator[Client]:
    """A client over stdio with the server's stderr in a file."""
    from mcp.client.stdio import stdio_client as transport

    with log.open("w") as stderr:
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=env)
        async with Client(transport(parameters, errlog=stderr), mode=era) as client:
            yield client


class Playing:
    """A server in this process that plays scene after scene: to open its folder and to start its child takes longer.

    Args:
        env: its environment, as `environment` makes it.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self.env = dict(env)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            client = Client(build_server(settings.load(env)))
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()

    def play(self, scene: Callable[[Client], Awaitable[Any]]) -> Any:
        return self._portal.call(scene, self._client)

    def end(self) -> None:
        self._stack.close()


_playing: list[Playing] = []


def in_server(env: dict[str, str], scene: Callable[[Client], Awaitable[Any]]) -> Any:
    """What a scene returns that is played in a server in this process.

    It's the server of the scene before where that had the same environment; otherwise that one is ended first.
    """
    if not _playing or _playing[0].env != env:
        end_server()
        _playing.append(Playing(env))
    return _playing[0].play(scene)


def end_server() -> None:
    """End the server of the last scene; nothing happens where there is none."""
    if _playing:
        _playing.pop().end()


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """The result of a call that must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, (tool, text_of(result))
    return result


async def refused(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The error of a call that must fail."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, (tool, text_of(result))
    return dict(result.structured_content["error"])


TABLE = "x,z,y\n" + "".join(f"{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}\n" for i in range(600))


def with_two_versions(data_dir: Path) -> dict[str, str]:
    """The environment of a data folder with a small table, table@1, and two verified models of it, y@1 and y@2."""
    env = environment(data_dir, rate_per_second="1000", rate_burst="1000")
    shutil.copytree(_two_versions(), env["COURTSIDE_DATA_DIR"])
    return env


@functools.cache
def _two_versions() -> Path:
    """That data folder, made once in a run of the tests, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="courtside-two-versions-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    env = environment(folder, rate_per_second="1000", rate_burst="1000", worker_idle_seconds="1")

    async def scene() -> None:
        async with Client(build_server(settings.load(env))) as client:
            await told(client, "import_data", name="table", text=TABLE, target="y")
            await told(client, "train_model", model="y", dataset="table@1")
            job = await told(client, "get_job", job="y", wait=50.0)
            assert job.structured_content["state"] == "succeeded", text_of(job)
        lock = FolderLock(folder / "data" / "worker.lock")
        await until(lambda: lock.holder() is None)  # it would still write into what is copied

    asyncio.run(scene())
    return folder / "data"
