"""What every test shares: what is skipped for want of a service is counted, and fails where services are required."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mcp_server.jobs.environment import PATIENT
from mcp_server.storage import sqlite_library

# Before anything loads numpy: the processes of tests share few processors.
for _name, _value in PATIENT.items():
    os.environ.setdefault(_name, _value)

# Before anything imports sqlite3, as in every process of ours.
sqlite_library.install()

pytest_plugins = ["storage.fixtures"]

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("courtside", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50)  # its draws are the same each time
hypothesis.settings.load_profile("courtside")

REQUIRED = os.environ.get("COURTSIDE_REQUIRE_SERVICES") == "1"
_skipped: Counter[str] = Counter()
_faults: Counter[str] = Counter()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Doctests are looked for in the package; what stands beside the tests is run by them, not imported."""
    beside = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if beside or "node_modules" in collection_path.parts else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a test marked `services` into a failure where services are required."""
    report = yield
    if report.skipped and item.get_closest_marker("services") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if REQUIRED:
            report.outcome = "failed"
            report.longrepr = f"{reason}: required where COURTSIDE_REQUIRE_SERVICES=1"
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count where the summary is written: tests may run in several processes."""
    if report.skipped and {"services", "mlflow"} & set(report.keywords) and isinstance(report.longrepr, tuple | list):
        _skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1
    if report.when == "call" and "fault" in report.keywords:
        _faults[report.outcome] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for reason, count in sorted(_skipped.items()):
        terminalreporter.write_line(f"skipped {count} for want of a service: {reason}")
    if _faults:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(_faults.items()))
        terminalreporter.write_line(f"fault tests: {told}")
