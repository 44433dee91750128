"""Reading an expression runs nothing, whatever it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from core.expressions.hostile import COUNT, strings

PROGRAM = Path(__file__).with_name("hostile.py")


def read_all(*arguments: str) -> dict:
    root = PROGRAM.parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    return json.loads(done.stdout)


def test_ten_thousand_hostile_strings_are_refused_or_plain_expressions_and_nothing_runs():
    found = read_all()
    assert found["done"] == {}
    assert found["refused"] + found["expressions"] == COUNT
    assert found["expressions"] == found["plain"]
    assert found["refused"] > 0.8 * COUNT
    assert found["expressions"] > 50


def test_the_control_that_evaluates_is_noticed():
    assert {"open", "exec"} <= read_all("control")["done"].keys()


def test_most_of_the_strings_would_be_run_by_python():
    def runs(text: str) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                compile(text, "", "exec")
            except (SyntaxError, ValueError):
                return False
        return True

    assert sum(map(runs, strings())) > 0.6 * COUNT
