"""Files that would do something: every one is refused, and a control shows that they'd have done it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.tree import DecisionTreeClassifier

from core.model_files.assembling import stream
from core.model_files.hostile_formats import by_archive, by_other_formats, by_skops
from core.model_files.hostile_pickles import Hostile, by_calls, by_joblib, by_machine, by_memory, deed
from mcp_server.core.model_files import CODES, read_model_file

OPENING = Path(__file__).with_name("opening_process.py")


def corpus(folder: Path) -> dict[str, tuple[Hostile, Path]]:
    """Technique to file, each that opens with a marker of its own."""
    makers: tuple[Callable[[Path], dict[str, Hostile]], ...] = (
        lambda marker: {key: (stream(body), "pickle") for key, body in by_calls(marker).items()},
        by_machine,
        lambda marker: by_joblib(marker, folder),
        by_memory,
        by_archive,
        by_skops,
        by_other_formats,
    )
    found: dict[str, tuple[Hostile, Path]] = {}
    for make in makers:
        for technique, one in make(folder / "marker").items():
            marker = folder / f"marker-{len(found)}"
            found[technique] = (one if one[1] is None else make(marker)[technique], marker)
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


def test_trees_that_lead_nowhere_are_refused():
    """Compiled code follows these numbers unasked: a child before its parent or beyond the array, no such feature."""
    model = DecisionTreeClassifier(random_state=0).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]], [0, 1, 0])
    sound = pickle.dumps(model)
    state = model.tree_.__getstate__()
    raw = state["nodes"].tobytes()
    assert raw in sound
    assert read_model_file(sound).verdict == "data-only"
    for field, number in (("left_child", 0), ("right_child", 9), ("left_child", -7), ("feature", 2), ("feature", -1)):
        nodes = state["nodes"].copy()
        nodes[field][0] = number
        found = read_model_file(sound.replace(raw, nodes.tobytes()))
        assert [one.code for one in found.findings] == ["out_of_bounds"], (field, number)
    counted = b"node_count\x94K" + bytes([len(state["nodes"])])
    assert counted in sound
    assert read_model_file(sound.replace(counted, b"node_count\x94K\x63")).verdict == "unsafe"


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
