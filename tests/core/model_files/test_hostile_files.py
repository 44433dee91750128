"""Files that would do something: every one is refused, and a control shows that they'd have done it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.model_files.assembling import stream
from core.model_files.hostile_formats import by_archive, by_other_formats, by_skops
from core.model_files.hostile_pickles import Hostile, by_calls, by_joblib, by_machine, by_memory, deed
from mcp_server.core.model_files import CODES, read_model_file

OPENING = Path(__file__).with_name("opening_process.py")


def corpus(folder: Path) -> dict[str, tuple[Hostile, Path]]:
    """Technique to file, each with a marker of its own."""
    found: dict[str, tuple[Hostile, Path]] = {}

    def add(makers, number):
        names = list(makers(folder / "x"))
        for technique in names:
            marker = folder / f"marker-{len(found)}"
            found[technique] = (makers(marker)[technique], marker)

    add(lambda marker: {key: (stream(body), "pickle") for key, body in by_calls(marker).items()}, 0)
    add(by_machine, 1)
    add(lambda marker: by_joblib(marker, folder), 2)
    add(by_memory, 3)
    add(by_archive, 4)
    add(by_skops, 5)
    add(by_other_formats, 6)
    return found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Hostile, Path]]:
    return corpus(tmp_path_factory.mktemp("hostile"))


def test_there_are_many_techniques(hostile):
    assert len(hostile) >= 150
    assert len({content for (content, _), _ in hostile.values()}) == len(hostile)
    assert sum(way is not None for (_, way), _ in hostile.values()) >= 80


def test_every_hostile_file_is_refused_and_nothing_happens(hostile):
    passed = []
    for technique, ((content, way), _) in hostile.items():
        report = read_model_file(content)
        assert {finding.code for finding in report.findings} <= set(CODES)
        if report.verdict == "data-only" or not report.findings:
            passed.append(technique)
        if way is not None and report.verdict != "unsafe":
            passed.append(f"{technique}: {report.verdict}, {report.findings}")
    assert not passed, "\n".join(passed)
    assert not [technique for technique, (_, marker) in hostile.items() if marker.exists()]


def test_the_control_does_what_was_refused(hostile, tmp_path):
    """Opened in the way that each was made for, every file leaves its marker."""
    listed = []
    for number, ((content, way), marker) in enumerate(hostile.values()):
        if way is not None:
            file = tmp_path / f"{number}.bin"
            file.write_bytes(content)
            (tmp_path / f"{number}.bin.rows").write_text(deed(marker))
            listed.append([str(file), way])
    (tmp_path / "list.json").write_text(json.dumps(listed))
    subprocess.run([sys.executable, OPENING, tmp_path / "list.json"], check=True, timeout=300, cwd=tmp_path)
    idle = [technique for technique, ((_, way), marker) in hostile.items() if way is not None and not marker.exists()]
    assert not idle
