"""`courtside check` as a CI system runs it: on a real model, with files and an exit code."""

import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from acceptance.processes import with_two_versions

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
