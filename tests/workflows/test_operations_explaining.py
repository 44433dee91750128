"""The operations behind explain_model, on forms built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from charts.drawings import texts
from core.predictor.forms import a_form, an_input, number, stump
from mcp_server.charts.render import render_svg
from mcp_server.core.ingest import write_parquet
from mcp_server.core.predictor import read_form
from mcp_server.errors import BadSample, InvalidInput
from mcp_server.workflows.operations.explaining import explain_overall, explain_rows, waterfall_of
from mcp_server.workflows.operations.grouping import judge_groups

CONTRACT = {
    "columns": [
        {"name": "x", "kind": "number", "minimum": 0.0, "maximum": 100.0},
        {"name": "y", "kind": "number", "minimum": 0.0, "maximum": 100.0},
        {"name": "kind", "kind": "category"},
        {"name": "win", "kind": "category", "role": "target"},
    ]
}


def report(_share: float, _what: str) -> None:
    """Nobody listens."""


def form(**changes: Any) -> dict[str, Any]:
    """yes where x - y, or the gap that is stated, is above 10."""
    plain = {
        "derived": [{"name": "gap", "expression": "x - y"}],
        "inputs": [an_input("x"), an_input("y"), an_input("gap", low=-100.0)],
        "encoder": [number("gap")],
        "estimator": {"kind": "trees", "base": [0.0], "trees": [stump(0, 10.0, -1.0, 1.0)]},
    }
    return a_form(**(plain | changes))


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 100, 200), rng.uniform(0, 100, 200)
    wins = np.where((x - y > 10) ^ (rng.random(200) < 0.1), "yes", "no")
    frame = pl.DataFrame({"x": x, "y": y, "kind": np.where(x > 50, "far", "near"), "win": wins})
    with (tmp_path / "table.parquet").open("wb") as out:
        write_parquet(frame, out)
    (tmp_path / "form.json").write_bytes(orjson.dumps({"form": form(), "contract": CONTRACT}))
    return {
        "form": str(tmp_path / "form.json"),
        "path": str(tmp_path / "table.parquet"),
        "contract": CONTRACT,
        "held_out": {},
        "unread": ["kind", "win"],
        "personal": [],
        "fixed": [],
        "move": None,
        "picture": False,
        "name": "games@1",
        "seed": 0,
        "groups": ["kind"],
        "limits": {},
    }


def test_a_derived_column_is_one_of_its_own_and_its_value_is_the_computed_one(arguments):
    found = explain_rows({**arguments, "rows": [{"x": 40.0, "y": 35.0, "kind": "far"}]}, report)
    (one,) = found["rows"]
    assert [(part["column"], part["value"]) for part in one["contributions"]] == [("gap", 5.0)]
    assert {change["changes"][0]["column"] for change in one["changes"]} == {"x", "y"}


def test_what_is_computed_from_a_personal_column_is_hidden_and_stays(arguments):
    found = explain_rows({**arguments, "personal": ["x"], "rows": [{"x": 40.0, "y": 35.0}]}, report)
    (one,) = found["rows"]
    assert [part["value"] for part in one["contributions"]] == ["hidden"]
    assert {part["column"] for change in one["changes"] for part in change["changes"]} == {"y"}
    assert one["kept"] == {"is personal": 1}


@pytest.mark.parametrize("row", [{"gap": 50.0}, {"x": 40.0, "y": 35.0, "gap": 50.0}])
def test_no_change_is_looked_for_where_what_is_computed_is_stated_otherwise(arguments, row):
    found = explain_rows({**arguments, "rows": [row]}, report)
    (one,) = found["rows"]
    assert one["value"] == "yes"
    assert one["changes"] == []
    assert one["kept"] == {"is stated though it's computed from others": 1}


def test_a_model_whose_training_is_not_known_is_judged_on_every_row(arguments):
    found = explain_overall(arguments, report)
    assert (found["rows"], found["left_out"]) == (200, 0)
    assert {one["column"] for one in found["importance"]} == {"x", "y"}
    assert all(one["low"] > 0.0 for one in found["importance"])
    assert [one["column"] for one in found["contributions"]] == ["gap"]


def test_groups_of_a_column_that_the_model_does_not_read_are_judged(arguments):
    found = judge_groups({**arguments, "limits": {"kind": [["selection_rate", "ratio", 0.8]]}}, report)
    (one,) = found["columns"]
    assert one["verdict"] == "fail"
    assert {group["name"] for group in one["groups"]} == {"far", "near"}
    assert [proxy["column"] for proxy in one["proxies"]] == ["x"]
    assert found["positive"] == "yes"


def test_a_column_with_one_group_only_is_refused(arguments, tmp_path):
    frame = pl.read_parquet(arguments["path"]).with_columns(kind=pl.lit("far"))
    with (tmp_path / "alike.parquet").open("wb") as out:
        write_parquet(frame, out)
    with pytest.raises(BadSample, match="one group"):
        judge_groups({**arguments, "path": str(tmp_path / "alike.parquet")}, report)


def test_data_without_the_target_is_refused(arguments, tmp_path):
    with (tmp_path / "bare.parquet").open("wb") as out:
        write_parquet(pl.read_parquet(arguments["path"]).drop("win"), out)
    with pytest.raises(InvalidInput, match="target"):
        explain_overall({**arguments, "path": str(tmp_path / "bare.parquet")}, report)


@pytest.mark.parametrize(("kind", "said"), [({"kind": "none"}, False), ({"kind": "platt", "a": 1.5, "b": 0.1}, True)])
def test_a_picture_speaks_of_calibration_only_where_there_is_one(arguments, kind, said):
    told = explain_rows({**arguments, "rows": [{"x": 40.0, "y": 35.0}]}, report)["rows"][0]
    drawn = waterfall_of(read_form(form(calibration=kind)), "games@1", told, 50)
    assert ("before calibration" in " ".join(texts(render_svg(drawn)))) is said
