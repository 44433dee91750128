"""What the process that adopts a file makes of it, and that it reads the file once."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from core.model_files.assembling import call, name, stream
from mcp_server.core.adoption import audit
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.adopting import adopt_model
from mcp_server.workflows.operations.loading import verify_model
from workflows.test_operations_labelling import stored


def some_rows(seed: int = 0, count: int = 120) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=count), rng.normal(size=count)
    return {"x": x, "z": z, "part": [at % 3 for at in range(count)], "y": [int(one) for one in x + z > 0]}


def asked(folder: Path, model: Any, **stated: Any) -> dict[str, Any]:
    (folder / "theirs.pkl").write_bytes(pickle.dumps(model))
    told = {"target": "y", "columns": ["x", "z"], "test": None, "seed": 0, **stated}
    return {**stored(folder, some_rows()), **told, "file": str(folder / "theirs.pkl"), "out": str(folder / "made")}


def a_model() -> Any:
    rows = some_rows()
    return LogisticRegression().fit(np.column_stack([rows["x"], rows["z"]]), rows["y"])


def told_nothing(*_: Any) -> None:
    return None


def test_the_file_is_read_once_so_that_one_put_in_its_place_is_never_seen(tmp_path, monkeypatch):
    """A file that changes the moment it has been audited: the version is the honest one's, and nothing runs."""
    honest = adopt_model(asked(tmp_path, a_model()), told_nothing)
    marker, read = tmp_path / "marker", audit.open_model_file
    arguments = asked(tmp_path, a_model())

    def swapping(content: bytes) -> Any:
        found = read(content)
        Path(arguments["file"]).write_bytes(stream(call(name("os", "system"), f"touch {marker}")))
        return found

    monkeypatch.setattr(audit, "open_model_file", swapping)
    found = adopt_model(arguments, told_nothing)
    assert found["digest"] == honest["digest"]
    assert not marker.exists()
    pickle.loads(Path(arguments["file"]).read_bytes())
    assert marker.exists()


def test_the_rows_that_were_stated_as_held_out_judge_and_the_others_count_as_seen(tmp_path):
    found = adopt_model(asked(tmp_path, a_model(), test="part == 0"), told_nothing)
    assert found["metrics"]["rows"] == {"train": 80, "calibration": 0, "test": 40}
    assert orjson.loads((tmp_path / "made" / "test_rows.json").read_bytes()) == list(range(0, 120, 3))
    assert len((tmp_path / "made" / "seen_rows.bin").read_bytes()) == 80 * 8
    assert found["parameters"]["adopted"]["held_out"] is True
    assert found["metrics"]["train"]["log_loss"] > 0
    plain = adopt_model(asked(tmp_path, a_model()), told_nothing)
    assert plain["metrics"]["rows"] == {"train": 0, "calibration": 0, "test": 120}
    assert plain["metrics"]["train"] == {}
    assert not (tmp_path / "made" / "seen_rows.bin").read_bytes()
    assert plain["digest"] != found["digest"]
    with pytest.raises(InvalidInput, match="Only 0 rows meet the test"):
        adopt_model(asked(tmp_path, a_model(), test="part > 5"), told_nothing)


def test_outcomes_that_the_model_does_not_know_are_said(tmp_path):
    rows = some_rows()
    model = a_model()
    model.classes_ = np.array([0, 2])
    found = adopt_model(asked(tmp_path, model), told_nothing)
    assert f"{sum(rows['y'])} rows have an outcome" in found["notes"][-1]
    model.classes_ = np.array(["a", "b"])
    with pytest.raises(
        InvalidInput, match=r"answers 'a', 'b'; in 120 rows 'y' is '[01]', '[01]'\. Only 0 rows"
    ) as other:
        adopt_model(asked(tmp_path, model, test="part == 0"), told_nothing)
    assert "derive" in other.value.hint


def test_a_version_goes_by_the_class_that_the_person_fitted(tmp_path):
    rows = some_rows()
    model = Ridge().fit(np.column_stack([rows["x"], rows["z"]]), rows["y"])
    assert adopt_model(asked(tmp_path, model), told_nothing)["metrics"]["algorithm"] == "adopted Ridge"


def test_another_version_of_scikit_learn_is_told(tmp_path):
    model = a_model()
    arguments = asked(tmp_path, model)
    kept = Path(arguments["file"]).read_bytes()
    found = re.search(rb"_sklearn_version\x94\x8c\x05(1\.\d\.\d)", kept)
    assert found is not None
    Path(arguments["file"]).write_bytes(kept.replace(found[1], b"1.4.2"))
    assert "1.4.2 wrote it" in adopt_model(arguments, told_nothing)["notes"][-1]


@pytest.mark.parametrize("damage", ["estimator.skops", "form.json", "columns"])
def test_a_verification_finds_what_was_changed_in_an_adopted_version(tmp_path, damage):
    arguments = asked(tmp_path, a_model())
    found = adopt_model(arguments, told_nothing)
    made = tmp_path / "made"
    parts = {
        "form": "form.json",
        "estimator": "estimator.skops",
        "golden": "golden.json",
        "test_rows": "test_rows.json",
    }
    given = {part: str(made / file) for part, file in parts.items()} | {"data": arguments["path"]}
    given["digest"] = found["digest"]
    checks = {one["name"]: one for one in verify_model(given, told_nothing)["checks"]}
    # Where nobody said what it was trained on, no one can tell its members.
    assert "isn't known which rows it was trained on" in checks.pop("membership")["detail"]
    assert {one["state"] for one in checks.values()} == {"passed"}
    document = orjson.loads((made / "form.json").read_bytes())
    if damage == "estimator.skops":
        other = Ridge().fit(np.ones((3, 2)), np.arange(3.0))
        (made / damage).write_bytes(pickle.dumps(other))
    elif damage == "form.json":
        document["form"]["estimator"]["coefficients"][0][0] *= 1.001
    else:
        document["parameters"]["adopted"]["columns"] = ["z", "x"]
    (made / "form.json").write_bytes(orjson.dumps(document))
    failed = {one["name"] for one in verify_model(given, told_nothing)["checks"] if one["state"] != "passed"}
    assert "parity" in failed
    assert damage == "estimator.skops" or "digest" in failed


def test_a_column_known_only_after_the_event_is_said(tmp_path):
    arguments = asked(tmp_path, a_model())
    contract = arguments["contract"]
    for column in contract["columns"]:
        column["role"] = "known_after" if column["name"] == "z" else column["role"]
    found = adopt_model(arguments, told_nothing)
    assert any("known only after the event" in note for note in found["notes"])
    assert found["parameters"]["allow_leaks"] is True
