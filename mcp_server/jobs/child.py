"""The computing child: `python -m mcp_server.jobs.child --operations MODULE`.

It reads requests from its standard input and writes replies to its standard output, both moved to other descriptors
first: what an operation or a library prints goes to standard error. It limits itself before it imports the operations.

    parent: {"limits": {...}}                                   child: {"ready": {"memory": true, ...}}
    parent: {"id": 1, "operation": "profile", "arguments": {}}  child: {"id": 1, "progress": 0.5, "message": "Reading"}
                                                                child: {"id": 1, "result": {...}}
                                                                   or  {"id": 1, "error": {"code": "E_RAGGED", ...}}

A `CourtsideError` is an answer. Anything else that an operation raises ends the process, since nothing is known of its
state then; the traceback goes to the log. At the end of the input the process ends, whatever it's doing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from mcp_server.errors import CourtsideError
from mcp_server.jobs import frames, isolation, landlock

EXIT_FAILED = 70
EXIT_MEMORY = 71
_PROGRESS_SECONDS = 0.1

log = logging.getLogger("mcp_server.jobs.child")


class _Lines(logging.Formatter):
    """One JSON object a line: the parent puts it into its own log, where secrets are removed."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return json.dumps({"level": record.levelno, "logger": record.name, "text": text})


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one parent until it closes the pipe."""
    parser = argparse.ArgumentParser(prog="python -m mcp_server.jobs.child")
    parser.add_argument("--operations", required=True, help="the module whose functions are the operations")
    options = parser.parse_args(arguments)
    requests, replies = _take_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process in order
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = _end_on_surprise
    opening = frames.read(requests)
    if opening is None:
        return
    report = limit(opening["limits"])
    operations = importlib.import_module(options.operations)
    frames.write(replies, {"ready": report})
    serve(requests, replies, operations)


def limit(limits: dict[str, Any]) -> dict[str, bool]:
    """Put every limit in force that the platform has, and say which it has."""
    if limits["nice"] and hasattr(os, "nice"):
        os.nice(limits["nice"])
    isolation.no_core_dump()
    report = {
        "network": isolation.no_network(),
        "files": landlock.confine(
            writes=[Path(text) for text in limits["writes"]],
            reads=None if limits["reads"] is None else [Path(text) for text in limits["reads"]],
        ),
        # After the namespace: entering one makes the kernel forget this.
        "orphans": isolation.end_with_parent(limits["parent"]),
        "memory": isolation.limit_memory(limits["memory"]),
        "cpu": limits["cpu"] is not None and isolation.limit_cpu(limits["cpu"]),
    }
    return {"process": True, **report}


def serve(requests: int, replies: int, operations: ModuleType) -> None:
    """Answer requests one after the other; returns at the end of the input when none is being answered."""
    waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(requests, waiting, busy), daemon=True, name="requests").start()
    while True:
        request = waiting.get()
        if request is None:
            return
        answer(replies, operations, request)
        busy.clear()


def answer(replies: int, operations: ModuleType, request: dict[str, Any]) -> None:
    """Run one operation and send its result, or the deliberate error that it ended with."""
    number = request["id"]
    last = -_PROGRESS_SECONDS

    def report(fraction: float, message: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            frames.write(replies, {"id": number, "progress": fraction, "message": message})

    try:
        result = getattr(operations, request["operation"])(request["arguments"], report)
    except CourtsideError as refused:
        error = {"code": refused.code, "message": refused.message, "hint": refused.hint, "details": refused.details}
        frames.write(replies, {"id": number, "error": error})
        return
    frames.write(replies, {"id": number, "result": result})


def _take_pipes() -> tuple[int, int]:
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, replies


def _listen(requests: int, waiting: queue.SimpleQueue[dict[str, Any] | None], busy: threading.Event) -> None:
    with contextlib.suppress(frames.BadFrame):  # a parent that dies while it writes leaves half a message
        while (request := frames.read(requests)) is not None:
            busy.set()
            waiting.put(request)
    if busy.is_set():
        _end_group()
    waiting.put(None)


def _end_group() -> None:
    """The parent is gone or lost interest: end now, with whatever the operation started."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(EXIT_FAILED)


def _end_on_surprise(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, MemoryError):
        os._exit(EXIT_MEMORY)
    log.error("An operation raised what it must not.", exc_info=(kind, error, traceback))
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
