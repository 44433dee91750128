"""The Inspector's command line, a client that isn't ours, drives the real server over stdio and HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import suite
from mcp_server import tools

pytestmark = pytest.mark.services

LAUNCHER = suite.MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
ERAS = ("legacy", "modern")
TOOL_FAILED = 5  # the Inspector's exit code for a result with isError


class Inspector:
    """Calls one server; each call is a process of its own.

    Args:
        target: the Inspector's arguments that name the server.
    """

    def __init__(self, node: str, target: list[str], folder: Path) -> None:
        self.node, self.target, self.folder = node, target, folder

    def ask(self, method: str, *arguments: str, era: str = "legacy") -> tuple[int, dict[str, Any]]:
        """The exit code, and the result as the server gave it."""
        command = [self.node, str(LAUNCHER), "--cli", "--protocol-era", era, "--method", method]
        command += [*arguments, "--format", "json", "-q", *self.target]
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "COURTSIDE_DATA_DIR": str(self.folder / "data"),
            "COURTSIDE_PROFILE": "test",
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip(), done.stderr
        return done.returncode, json.loads(done.stdout.splitlines()[0])["result"]


@pytest.fixture(scope="module", params=["stdio", "http"])
def inspector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    try:
        suite.install()
        node = suite.node()
    except suite.Unavailable as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("inspector")
    if request.param == "stdio":
        # The client passes only a few variables on, so the server gets its own in the command.
        given = [f"COURTSIDE_DATA_DIR={folder / 'data'}", "COURTSIDE_PROFILE=test"]
        yield Inspector(node, ["env", *given, sys.executable, "-m", "mcp_server", "serve"], folder)
        return
    with suite.serving(folder, flags=()) as url:
        yield Inspector(node, ["--server-url", url, "--transport", "http"], folder)


@pytest.mark.parametrize("era", ERAS)
def test_it_lists_every_tool(inspector: Inspector, era: str) -> None:
    code, result = inspector.ask("tools/list", era=era)
    assert code == 0
    assert [tool["name"] for tool in result["tools"]] == [spec.name for spec in tools.specs()]


@pytest.mark.parametrize("era", ERAS)
def test_it_reads_a_health_report(inspector: Inspector, era: str) -> None:
    code, result = inspector.ask("tools/call", "--tool-name", "health_report", era=era)
    assert code == 0
    assert result["structuredContent"]["status"] in ("ok", "attention", "failing")


def test_a_refusal_reaches_it_with_its_code(inspector: Inspector) -> None:
    code, result = inspector.ask("tools/call", "--tool-name", "verify_model", "--tool-arg", "model=nothing@1")
    assert code == TOOL_FAILED
    assert result["isError"] is True
    assert "E_NOT_FOUND" in result["content"][0]["text"]


def test_it_reads_a_runbook_and_a_prompt(inspector: Inspector) -> None:
    code, result = inspector.ask("resources/read", "--uri", "runbook://leak-found")
    assert code == 0
    assert result["contents"][0]["text"].startswith("# A feature gives the target away")
    code, result = inspector.ask(
        "prompts/get", "--prompt-name", "investigate-an-error", "--prompt-args", "error=E_LEAK"
    )
    assert code == 0
    assert "E_LEAK" in result["messages"][0]["content"]["text"]
