"""Files that would do something: every one is refused, and a control shows that they'd have done it."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skops.io
from numpy.random import Philox
from numpy.random._pickle import __bit_generator_ctor, __randomstate_ctor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import DistanceMetric
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from core.model_files.assembling import call, group, made, name, stream
from core.model_files.hostile_formats import by_archive, by_other_formats, by_skops, zipped
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


def test_a_tree_of_boosting_by_histograms_asks_only_for_features_that_its_model_has():
    rows = np.random.default_rng(3).random((60, 2))
    model = HistGradientBoostingRegressor(max_iter=1, max_depth=2, min_samples_leaf=5).fit(rows, rows[:, 0])
    nodes = model._predictors[0][0].nodes
    assert read_model_file(pickle.dumps(model)).verdict == "data-only"
    nodes["feature_idx"][0] = 2
    assert [one.code for one in read_model_file(pickle.dumps(model)).findings] == ["out_of_bounds"]


def test_nodes_of_a_tree_that_come_after_the_tree_are_refused():
    """A loader fills an array where it's kept: the tree would have nodes that nobody looked at."""
    predictor = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
    empty = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), group(0), b"b")
    found = read_model_file(stream(made(*predictor, {"nodes": empty})))
    assert [one.code for one in found.findings] == ["foreign_state"]


class Restored:
    """Pickled as what a function gives for arguments, with a state."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def neighbours(kind=KDTree, **changes):
    """A search tree of 90 rows with a changed state: the values of its arrays in place, its other entries by number."""
    rows = np.random.default_rng(0).normal(size=(90, 3))
    tree = kind(rows, leaf_size=10, metric=changes.pop("metric", "euclidean"))
    function, arguments, state = tree.__reduce__()
    state = list(state)
    nodes = state[2] = state[2].copy()
    state[1] = state[1].copy()
    for field, (place, number) in changes.items():
        if field == "row":
            state[1][place] = number
        elif field == "entry":
            state[place] = number
        else:
            nodes[field][place] = number
    return Restored(function, arguments, tuple(state))


LED_OUT = {
    "a row beyond": {"row": (0, 1 << 40)},
    "a row before": {"row": (5, -(1 << 40))},
    "an end beyond": {"idx_end": (7, 1 << 40)},
    "a start before": {"idx_start": (7, -(1 << 40))},
    "a node beyond": {"is_leaf": (14, 0)},
}
OTHERWISE = {
    "fewer nodes than levels": {"entry": (5, 40)},
    "more nodes than there are": {"entry": (6, 31)},
    "no size of a leaf": {"entry": (4, 0)},
    "bounds of another shape": {"entry": (3, np.zeros((2, 1, 3)))},
    "fewer rows": {"entry": (0, np.zeros((3, 3)))},
    "places of four bytes": {"entry": (1, np.arange(90, dtype="i4"))},
    "weights of another length": {"entry": (12, np.ones(3))},
    "no tree's nodes": {"entry": (2, np.zeros(15))},
    "a distance of fewer columns": {"entry": (11, DistanceMetric.get_metric("seuclidean", V=np.ones(1)))},
    "a distance of two columns": {"entry": (11, DistanceMetric.get_metric("haversine"))},
    "a distance of a smaller matrix": {"entry": (11, DistanceMetric.get_metric("mahalanobis", V=np.eye(1)))},
}


@pytest.mark.parametrize("kind", [KDTree, BallTree])
def test_search_trees_stay_within_their_arrays(kind):
    for metric in ("euclidean", "manhattan", "chebyshev", "minkowski"):
        found = read_model_file(pickle.dumps(neighbours(kind, metric=metric)))
        assert found.verdict == "data-only", found.findings
    for case, changes in LED_OUT.items():
        for protocol in (2, 5):
            found = read_model_file(pickle.dumps(neighbours(kind, **changes), protocol))
            assert [one.code for one in found.findings] == ["out_of_bounds"], case
    for case, changes in OTHERWISE.items():
        found = read_model_file(pickle.dumps(neighbours(kind, **changes)))
        assert [one.code for one in found.findings] == ["foreign_state"], case


def test_search_trees_of_skops_stay_within_their_arrays():
    rows = np.random.default_rng(0).normal(size=(90, 3))
    for kind, metric in ((KDTree, "euclidean"), (BallTree, "minkowski")):
        sound = skops.io.dumps(kind(rows, leaf_size=10, metric=metric))
        assert read_model_file(sound).verdict == "data-only"
        parts = json.loads(members(sound)["schema.json"])["content"]["content"]
        places = members(sound)[parts[1]["file"]]
        changed = zipped(members(sound) | {parts[1]["file"]: places[:-8] + (1 << 40).to_bytes(8, "little")})
        assert [one.code for one in read_model_file(changed).findings] == ["out_of_bounds"]
        schema = json.loads(members(sound)["schema.json"])
        schema["content"]["content"][11]["__module__"] = []
        unnamed = zipped(members(sound) | {"schema.json": json.dumps(schema).encode()})
        assert read_model_file(unnamed).verdict == "unsafe"


def test_a_tree_without_a_state_is_refused():
    for unfilled in (Restored(*neighbours().parts[:2]), Restored(Tree, (1, np.array([1]), 1))):
        found = read_model_file(pickle.dumps(unfilled))
        assert [one.code for one in found.findings] == ["out_of_bounds"]


@pytest.mark.parametrize("case", ["a row beyond", "an end beyond", None])
def test_the_control_crashes_where_a_search_tree_leads_out(case, tmp_path):
    (tmp_path / "tree.pkl").write_bytes(pickle.dumps(neighbours(**LED_OUT.get(case, {}))))
    ask = "import pickle; pickle.load(open('tree.pkl', 'rb')).query([[0.0, 0.0, 0.0]], k=90)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=tmp_path, timeout=60, capture_output=True)
    assert (done.returncode < 0) == (case is not None)


def test_a_random_generator_has_its_place_within_its_numbers():
    key = np.arange(624, dtype="u4")
    philox, philox_state, seed = Philox(1).__reduce__()[0], Philox(1).state, Philox(1).__reduce__()[2][1]

    def verdicts(place, buffered):
        entries = {"bit_generator": "MT19937", "state": {"key": key, "pos": place}, "has_gauss": 0, "gauss": 0.0}
        philox_state["buffer_pos"] = buffered
        states = [
            (__randomstate_ctor, ("MT19937",), entries),
            (__randomstate_ctor, ("MT19937",), ("MT19937", key, place)),
            (__randomstate_ctor, ("MT19937",), ("MT19937", key, place, 0, 0.0)),
            (__bit_generator_ctor, ("MT19937",), (entries, None)),
            (philox, ("Philox",), (philox_state, seed)),
        ]
        return [read_model_file(pickle.dumps(Restored(*one))).verdict for one in states]

    assert verdicts(624, 4) == verdicts(0, 0) == ["data-only"] * 5
    assert verdicts(625, 5) == verdicts(-1, -1) == ["unsafe"] * 5
    within = (("MT19937", key, 200_000_000), None)
    found = read_model_file(pickle.dumps(Restored(__bit_generator_ctor, ("MT19937",), within)))
    assert found.verdict == "unsafe"


def test_a_random_generator_of_skops_has_its_place_within_its_numbers():
    sound = skops.io.dumps(np.random.RandomState(3))
    assert read_model_file(sound).verdict == "data-only"
    assert read_model_file(skops.io.dumps(np.random.default_rng(3))).verdict == "data-only"
    for place in ("625", "-1", "2e8", '"1"', " 200000000"):
        schema = json.loads(members(sound)["schema.json"])
        schema["content"]["content"]["state"]["content"]["pos"]["content"] = place
        found = read_model_file(zipped(members(sound) | {"schema.json": json.dumps(schema).encode()}))
        assert [one.code for one in found.findings] == ["foreign_state"], place
    schema["content"]["content"]["state"] = schema["content"]["content"]["has_gauss"] | {"content": '{"pos": 2000000}'}
    assert read_model_file(zipped(members(sound) | {"schema.json": json.dumps(schema).encode()})).verdict == "unsafe"


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_opens_the_files_that_rows_name_is_refused_in_any_spelling(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("dunk dunk")
    model = CountVectorizer(vocabulary=["dunk"], input=np.str_("filename"))
    content = pickle.dumps(model)
    assert pickle.loads(content).transform([str(secret)]).sum() == 2
    assert read_model_file(content).verdict == "unsafe"
    # skops keeps the dtype as a type, which the default isn't asked for here.
    plain = skops.io.dumps(CountVectorizer(vocabulary=["dunk"], input="filename", dtype=np.int64))
    schema = members(plain)["schema.json"].replace(rb"\"filename\"", rb"\"\\u0066ilename\"")
    spelt = zipped(members(plain) | {"schema.json": schema})
    trusted = skops.io.get_untrusted_types(data=spelt)
    assert skops.io.loads(spelt, trusted=trusted).transform([str(secret)]).sum() == 2
    assert read_model_file(spelt).verdict == read_model_file(plain).verdict == "unsafe"
    sound = skops.io.dumps(CountVectorizer(vocabulary=["dunk"], dtype=np.int64))
    assert read_model_file(sound).verdict == "data-only"
    # skops takes the first node of an id for all: here a value that another attribute shows.
    schema = json.loads(members(sound)["schema.json"])
    entries = schema["content"]["content"]
    entries["input"]["__id__"] = entries["encoding"]["__id__"] = 7
    twice = zipped(members(sound) | {"schema.json": json.dumps(schema).encode()})
    assert [one.code for one in read_model_file(twice).findings] == ["second_content"]


BOOSTED = {
    "sound": ([1, 3, -1, -1, -1], [2, 4, -1, -1, -1], [0, 1, 9, 9, 9], "data-only"),
    "out of order": ([4, -1, -1, -1, 1], [3, -1, -1, -1, 2], [0, 9, 9, 9, 1], "data-only"),
    "in a circle": ([1, 2, 1, -1], [3, 3, 3, -1], [0, 0, 0, 0], "unsafe"),
    "back to the root": ([1, 0, -1], [2, 2, -1], [0, 0, 0], "unsafe"),
    "half a leaf": ([1, -1], [-1, -1], [0, 0], "unsafe"),
    "no such feature": ([1, -1, -1], [2, -1, -1], [2, 0, 0], "unsafe"),
    "a feature below 0": ([1, -1, -1], [2, -1, -1], [-1, 0, 0], "unsafe"),
}


@pytest.mark.parametrize("case", BOOSTED)
def test_trees_of_xgboost_stay_within_their_arrays(case):
    left, right, split, verdict = BOOSTED[case]
    tree = {"left_children": left, "right_children": right, "split_indices": split, "split_conditions": [0] * len(left)}
    learner = {"gradient_booster": {"model": {"trees": [tree]}}, "learner_model_param": {"num_feature": "2"}}
    found = read_model_file(json.dumps({"version": [3, 0, 0], "learner": learner}).encode())
    assert found.verdict == verdict
    assert any("compiled code" in sentence for sentence in found.unchecked)


@pytest.mark.parametrize(
    ("left", "right", "feature", "verdict"),
    [
        ("1 -1", "-2 -3", "0 1", "data-only"),
        ("1 99999999", "-2 -3", "0 1", "unsafe"),
        ("1 -1", "-2 -4", "0 1", "unsafe"),
        ("1 1", "-2 -3", "0 1", "unsafe"),
        ("0 -1", "-2 -3", "0 1", "unsafe"),
        ("1 -1", "-2 -3", "0 2", "unsafe"),
        ("1", "-2 -3", "0 1", "not understood"),
        ("1 x", "-2 -3", "0 1", "not understood"),
    ],
)
def test_trees_of_lightgbm_stay_within_their_arrays(left, right, feature, verdict):
    tree = f"Tree=0\nnum_leaves=3\nsplit_feature={feature}\nleft_child={left}\nright_child={right}\n\n"
    found = read_model_file(f"tree\nversion=v4\nmax_feature_idx=1\n\n{tree}end of trees\n".encode())
    assert found.verdict == verdict
    one_leaf = "Tree=0\nnum_leaves=1\nsplit_feature=\nleft_child=\nright_child=\n\n"
    assert read_model_file(f"tree\nversion=v4\n\n{one_leaf}end of trees\n".encode()).verdict == "data-only"


def test_a_module_that_any_file_could_be_is_refused_unless_the_library_has_loaded_it(tmp_path):
    """scikit-learn 1.5 to 1.8 name a module of compiled losses as if it stood alone."""
    (tmp_path / "_loss.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()\nCyHuberLoss = float\n")
    alone = call(name("_loss", "CyHuberLoss"), 1)
    (tmp_path / "model.pkl").write_bytes(stream(alone))
    command = [sys.executable, "-c", "import pickle; pickle.load(open('model.pkl', 'rb'))"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
    assert (tmp_path / "marker").exists()
    assert read_model_file(stream(alone)).verdict == "unsafe"
    loaded = name("sklearn._loss.loss", "HuberLoss") + b"0"
    assert read_model_file(stream(loaded + alone)).verdict == "data-only"
    assert read_model_file(stream(alone + b"0" + loaded + b"N")).verdict == "unsafe"


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
