"""`courtside audit`: what a person runs to see whether the log of changes was touched."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.processes import environment


def courtside(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcp_server", *arguments], env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = environment(tmp_path_factory.mktemp("audit"))
    for name in ("one", "two", "three"):
        done = courtside(env, "call", "import_data", f"name={name}", "text=a,b\n1,2\n3,4\n")
        assert done.returncode == 0, done.stdout + done.stderr
    return env


def tampered(env: dict[str, str], statement: str) -> None:
    connection = sqlite3.connect(Path(env["COURTSIDE_DATA_DIR"]) / "courtside.db", isolation_level=None)
    assert connection.execute(statement).rowcount > 0
    connection.close()


def test_tampering_is_told_with_an_exit_code_and_a_noted_head_is_found_again(env):
    head = courtside(env, "audit", "head").stdout.strip()
    assert head.startswith("3:sha256:")
    sound = courtside(env, "audit", "verify", "--head", head)
    assert (sound.returncode, sound.stdout) == (0, f"3 rows, 0 problems. Head: {head}\n")

    tampered(env, "UPDATE audit SET subject = 'dataset:other@1' WHERE place = 2")
    told = courtside(env, "audit", "verify")
    assert told.returncode == 1
    assert told.stdout.startswith("Row 2 isn't what was written")

    tampered(env, "DELETE FROM audit WHERE place >= 2")
    told = courtside(env, "audit", "verify")
    assert told.returncode == 1
    assert "The log ends at row 1; it was seen to reach row 3." in told.stdout
    assert "its signed head is of row 3" in told.stdout


def test_what_is_no_head_is_refused_with_an_example(env):
    refused = courtside(env, "audit", "verify", "--head", "yesterday")
    assert refused.returncode == 2
    assert "isn't a head" in refused.stderr
    assert "120:sha256:" in refused.stderr
