"""Raw JSON-RPC clients, so that a benchmark measures servers and not a client library."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from typing import Any, Self

MODERN, LEGACY = "2026-07-28", "2025-11-25"
ERAS = {"modern": MODERN, "legacy": LEGACY}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


def request(number: int, method: str, params: dict[str, Any], era: str) -> dict[str, Any]:
    if era == "modern":
        params = {**params, "_meta": _META}
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def initialize(number: int) -> dict[str, Any]:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    return {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}


class Stdio:
    """One server process and its pipes."""

    def __init__(self, command: list[str], era: str, env: dict[str, str] | None = None) -> None:
        self.era = era
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        self._number = 0
        if era == "legacy":
            self._send(initialize(0))
            self._receive(0)
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        self._send(request(self._number, method, params, self.era))
        return self._receive(self._number)

    def call(self, tool: str, arguments: dict[str, Any]) -> float:
        """Call a tool; seconds from the first byte written to the answer read."""
        started = time.perf_counter()
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        seconds = time.perf_counter() - started
        if "error" in answer or answer["result"].get("isError"):
            raise RuntimeError(str(answer)[:500])
        return seconds

    def _send(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def _receive(self, number: int) -> dict[str, Any]:
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == number:
                return message
        raise RuntimeError("the server closed its output")


class Http:
    """One keep-alive connection to a server that runs elsewhere."""

    def __init__(self, port: int, era: str) -> None:
        self.era = era
        self._number = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        if era == "legacy":
            _, headers = self._post(initialize(0))
            self._headers["mcp-session-id"] = headers["mcp-session-id"]
            self._headers["mcp-protocol-version"] = LEGACY
            self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        if self.era == "modern":
            self._headers |= {"mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": params.get("name", "")}
        body, _ = self._post(request(self._number, method, params, self.era))
        if body.startswith(b"{"):
            return json.loads(body)
        events = [line[5:] for line in body.splitlines() if line.startswith(b"data:")]
        return next(message for event in events if event.strip() and "id" in (message := json.loads(event)))

    call = Stdio.call

    def _post(self, message: dict[str, Any]) -> tuple[bytes, Any]:
        self._connection.request("POST", "/mcp", json.dumps(message), self._headers)
        response = self._connection.getresponse()
        return response.read(), response.headers


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
