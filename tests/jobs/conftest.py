"""Fixtures for tests with real child processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.jobs.compute import Compute

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _samples_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the sample operations and workflows where this process does."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")])))


@pytest.fixture
def make_compute(tmp_path: Path) -> Callable[..., Compute]:
    """Make a Compute over the sample operations; what isn't said has a moderate bound."""

    def make(**changes: object) -> Compute:
        values: dict[str, object] = {"memory_bytes": 1024 * MIB, "cpu_seconds": 30, "scratch": tmp_path / "scratch"}
        values.update(changes)
        return Compute("sample_operations", **values)  # type: ignore[arg-type]

    return make
