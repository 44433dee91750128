"""`courtside check` as a CI system runs it: on a real model, with files and an exit code."""

import asyncio
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mcp import Client

from acceptance.processes import TABLE, told, with_two_versions
from mcp_server import settings
from mcp_server.server import build_server

GATES = """
data:
  - {dataset: table@1, min_rows: 600, max_age_days: 1}
models:
  - model: y@2
    metrics: {log_loss: {max: 0.69}, roc_auc: {min: 0.6, by: interval}}
    latency_ms: {p50: 1000}
    max_age_days: 1
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return with_two_versions(tmp_path_factory.mktemp("gates"))


def checked(env, tmp_path: Path, gates: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "gates.yaml").write_text(gates)
    command = [sys.executable, "-m", "mcp_server", "check", "gates.yaml", "--junit", "gates.xml", "--summary", "sum.md"]
    return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_gates_that_hold_end_with_zero_and_leave_their_reports(env, tmp_path):
    (tmp_path / "sum.md").write_text("before\n")
    done = checked(env, tmp_path, GATES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 gates, 0 not passed" in done.stdout
    root = ET.parse(tmp_path / "gates.xml").getroot()
    assert [suite.get("name") for suite in root] == ["table@1", "y@2"]
    assert root.get("failures") == "0"
    summary = (tmp_path / "sum.md").read_text()
    assert summary.startswith("before\n## Courtside: 8 gates, 0 not passed")
    assert "| y@2 | verification | passed |" in summary


def test_a_gate_that_fails_and_a_subject_that_is_missing_end_with_one(env, tmp_path):
    done = checked(env, tmp_path, "models: [{model: y@1, metrics: {log_loss: {max: 0.001}}}, {model: other@1}]")
    assert done.returncode == 1
    assert "failed   y@1  log_loss:" in done.stdout
    assert "unknown  other@1  check: E_NOT_FOUND" in done.stdout
    assert ET.parse(tmp_path / "gates.xml").getroot().get("failures") == "2"


FAIR = """
models:
  - model: y@1
    fairness:
      groups: [z]
      dataset: wide@1
      limits: {selection_rate: {difference: 0.9}, false_positive_rate: {ratio: 0.99}}
  - model: y@2
    fairness: {groups: [rare], dataset: fair@1, limits: {selection_rate: {ratio: 0.8}}}
"""


def test_limits_on_groups_hold_by_the_file_and_by_the_contract_of_the_rows(env, tmp_path):
    """Of columns that make groups; a group of ten rows decides nothing, and so doesn't pass."""

    async def scene():
        async with Client(build_server(settings.load(env))) as client:
            cells = [line.split(",") for line in TABLE.splitlines()[1:]]
            rows = [f"{x},{int(z) + 5},{y}" for x, z, y in cells]  # unlike each row that it learned from
            rare = "\n".join(["x,z,y,rare", *(f"{row},{'ab'[at < 10]}" for at, row in enumerate(rows))]) + "\n"
            await told(client, "import_data", name="wide", text=rare, target="y")
            limits = {"selection_rate": {"difference": 0.9}, "mean_error": {"difference": 1.0}}
            change = {"columns": {"z": {"sensitive": True}}, "fairness": limits}
            steps = [{"do": "contract", "change": change}]
            await told(client, "prepare_data", dataset="wide@1", name="fair", steps=steps)

    asyncio.run(scene())
    done = checked(env, tmp_path, FAIR)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = {line.partition(":")[0]: line for line in done.stdout.splitlines()}
    assert "Against" in lines["passed   y@1  fairness selection_rate difference of z"]
    assert "the whole interval must be 0.99 to 1.01" in done.stdout
    assert "passed   y@2  fairness selection_rate difference of z" in lines, "by the contract of fair@1"
    assert "has no mean_error" in lines["unknown  y@2  fairness mean_error difference of z"]
    small = lines["unknown  y@2  fairness selection_rate ratio of rare"]
    assert "not decidable with these rows: too few rows" in small
    root = ET.parse(tmp_path / "gates.xml").getroot()
    names = [case.get("name") for suite in root for case in suite]
    assert "fairness selection_rate ratio of rare" in names
    assert "fairness selection\\_rate ratio of rare" in (tmp_path / "sum.md").read_text()


def test_a_file_that_is_no_gates_ends_with_two_and_writes_nothing(env, tmp_path):
    done = checked(env, tmp_path, "models: [{model: y@1, metric: {}}]")
    assert done.returncode == 2
    assert "E_ARG" in done.stderr
    assert not (tmp_path / "gates.xml").exists()


def test_figures_of_a_record_that_was_rewritten_pass_no_gate(env, tmp_path):
    connection = sqlite3.connect(Path(env["COURTSIDE_DATA_DIR"]) / "courtside.db", isolation_level=None)
    connection.execute("UPDATE models SET metrics = json_set(metrics, '$.test.log_loss.value', 0.0) WHERE version = 1")
    connection.close()
    done = checked(env, tmp_path, "models: [{model: y@1, metrics: {log_loss: {max: 0.69}}}]")
    assert done.returncode == 1
    assert "failed   y@1  verification" in done.stdout
    assert "unknown  y@1  log_loss" in done.stdout
