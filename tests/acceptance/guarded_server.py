"""The real server with one fault built into every tool, for the tests that prove nothing gets around the guard.

`python guarded_server.py stdio|PORT FAULT` where FAULT is `transient` (each call's first attempt fails), `crash`
(every attempt raises something unexpected, with a secret in it) or `none`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import Any

from mcp_server import settings
from mcp_server.errors import Transient
from mcp_server.server import build_server
from mcp_server.workflows.reply import Reply


class Attempts(Reply):
    """How many attempts the call took."""

    attempts: int

    def lines(self) -> list[str]:
        return [f"attempts: {self.attempts}"]


def with_fault(fault: str) -> Any:
    """A tool body that fails as asked, whatever its arguments."""
    attempts: dict[str, int] = {}

    async def run(app: Any, call: Any, **arguments: Any) -> Attempts:
        attempts[call.request_id] = attempts.get(call.request_id, 0) + 1
        if fault == "transient" and attempts[call.request_id] == 1:
            raise Transient("A dependency blinked.", hint="Call again.")
        if fault == "crash":
            raise RuntimeError("password=hunter2 of alice@example.org")
        return Attempts(attempts=attempts[call.request_id])

    return run


def main() -> None:
    transport, fault = sys.argv[1:3]
    loaded = settings.load()
    server = build_server(loaded)
    for name, spec in list(server.specs.items()):
        server.specs[name] = dataclasses.replace(spec, run=with_fault(fault), answer=Attempts)
    if transport == "stdio":
        from mcp_server.guard.stdio import serve_stdio

        asyncio.run(serve_stdio(server))
    else:
        from mcp_server.web import serve_http

        asyncio.run(serve_http(server, loaded, "127.0.0.1", int(transport), insecure_loopback=True))


if __name__ == "__main__":
    main()
