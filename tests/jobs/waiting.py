"""Async tests without a plug-in, and waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MOST_SECONDS = 60.0


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own; a hang fails it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(MOST_SECONDS):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], Any], *, within: float = 20.0) -> Any:
    """Wait until the condition holds, and return what it returned.

    Args:
        condition: asked again and again; what it returns may have to be awaited.
    Raises:
        TimeoutError: it didn't within so many seconds.
    """
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process exists and isn't a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def text_of(path: Path) -> str:
    """What the file holds, or nothing where there is none yet."""
    return path.read_text(encoding="utf-8") if path.exists() else ""
