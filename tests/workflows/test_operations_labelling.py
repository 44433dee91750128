"""Suggested rows of stored tables, and how their labels are known again when they come."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.preparing.tables import a_table
from mcp_server.core.contract import from_dict, to_dict
from mcp_server.core.ingest import write_parquet
from mcp_server.errors import BadTarget, InvalidInput
from mcp_server.workflows.operations import labelling
from mcp_server.workflows.operations.labelling import measure_labels, suggest_labels

ROWS, LABELLED = 160, 100


@pytest.fixture(autouse=True)
def fewer_tries(monkeypatch):
    """What these tests look at doesn't hang on how often a gain is tried."""
    monkeypatch.setattr(labelling, "expected_gain", partial(labelling.expected_gain, repeats=3))


def rows(seed: int = 0, count: int = ROWS, labelled: int = LABELLED) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=count), rng.normal(size=count)
    label = [int(value) if at < labelled else None for at, value in enumerate(x + z > 0)]
    return {"x": x, "z": z, "colour": rng.choice(["red", "blue"], count), "y": label}


def stored(folder: Path, columns: dict[str, Any], **stated: Any) -> dict[str, Any]:
    table = a_table(columns, **({"target": "y"} | stated))
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    with path.open("wb") as file:
        write_parquet(table.frame, file)
    return {"path": str(path), "contract": to_dict(table.contract)}


def suggested(table: dict[str, Any], pool: dict[str, Any] | None = None, count: int = 5) -> dict[str, Any]:
    return suggest_labels({**table, "pool": pool, "count": count, "seed": 0}, lambda *_: None)


def gained(table, of, numbers, pool=None, known=0) -> dict[str, Any] | None:
    asked = {"id": "7", "dataset": of, "pool": pool, "rows": numbers, "known": known}
    told = measure_labels({**table, "seed": 0, "suggestions": [asked]}, lambda *_: None)
    return told["gains"].get("7")


def with_labels(columns: dict[str, Any], labels: dict[int, int]) -> dict[str, Any]:
    return columns | {"y": [labels.get(at + 1, value) for at, value in enumerate(columns["y"])]}


def test_rows_without_a_label_are_suggested_with_numbers_from_one(tmp_path):
    told = suggested(stored(tmp_path, rows()))
    assert (told["labelled"], told["unlabelled"], told["looked_at"], told["task"]) == (100, 60, 60, "binary")
    numbers = [row["row"] for row in told["rows"]]
    assert len(set(numbers)) == 5
    assert set(numbers) <= set(range(LABELLED + 1, ROWS + 1))
    assert told["untold"] is None
    assert told["expected"]["metrics"]["log_loss"]["chosen"]["low"] is not None


def test_a_key_is_told_and_a_personal_one_is_not(tmp_path):
    plain = stored(tmp_path, {"id": [f"k{at}" for at in range(ROWS)], **rows()}, roles={"id": "key"})
    for row in suggested(plain)["rows"]:
        assert row["key"] == [f"k{row['row'] - 1}"]
    for column in plain["contract"]["columns"]:
        column |= {"personal": True} if column["name"] == "id" else {}
    personal = {**plain, "contract": to_dict(from_dict(plain["contract"]))}
    assert all(row["key"] == [] for row in suggested(personal)["rows"])
    for column in plain["contract"]["columns"]:
        column |= {"personal": True} if column["name"] == "y" else {}
    assert all(row["likeliest"] == [] for row in suggested(plain)["rows"])


def test_labels_are_known_again_by_the_key_wherever_the_rows_stand(tmp_path):
    columns = {"id": list(range(ROWS)), **rows()}
    old = stored(tmp_path, columns, roles={"id": "key"})
    labels = {number: number % 2 for number in (101, 120, 160)}
    turned = {name: list(values)[::-1] for name, values in with_labels(columns, labels).items()}
    found = gained(stored(tmp_path, turned, roles={"id": "key"}), old, [101, 120, 150, 160])
    assert found is not None
    assert (found["labelled"], found["judged"], found["metric"]) == (3, 100, "log_loss")
    assert found["gain"] == pytest.approx(found["before"] - found["after"])
    assert found["low"] <= found["gain"] <= found["high"]


def test_without_a_key_labels_are_known_again_by_what_the_models_read(tmp_path):
    columns = rows()
    old = stored(tmp_path, columns)
    new = with_labels(columns, {101: 1, 102: 0})
    new["x"] = [*new["x"][:101], 9.0, *new["x"][102:]]  # row 102 is another row now
    found = gained(stored(tmp_path, new), old, [101, 102, 103])
    assert found is not None
    assert found["labelled"] == 1


def test_equal_rows_with_different_labels_count_as_not_labelled(tmp_path):
    columns = rows()
    old = stored(tmp_path, columns)
    new = with_labels(columns, {101: 1, 110: 0})
    both = {name: [*values, values[100]] for name, values in new.items()} | {"y": [*new["y"], 0]}
    found = gained(stored(tmp_path, both), old, [101, 110])
    assert found is not None
    assert found["labelled"] == 1


def test_nothing_is_measured_before_further_labels_come(tmp_path):
    columns = rows()
    old = stored(tmp_path, columns)
    assert gained(old, old, [101, 102]) is None
    new = stored(tmp_path, with_labels(columns, {101: 1}))
    assert gained(new, old, [101, 102], known=1) is None
    assert gained(stored(tmp_path, {"y": [1, 0], "w": [1, 2]}), old, [101, 102]) is None


def test_rows_of_a_pool_are_suggested_and_their_labels_found_in_the_data_set(tmp_path):
    labelled, others = rows(labelled=ROWS), rows(seed=5, count=50, labelled=0)
    derived = {"sum": "x + z"}
    old = stored(tmp_path, labelled, derived=derived)
    unlabelled = {name: values for name, values in others.items() if name != "y"}
    pool = stored(tmp_path, unlabelled, target=None)
    told = suggested(old, pool)
    assert (told["labelled"], told["unlabelled"]) == (ROWS, 50)
    number = told["rows"][0]["row"]
    came = {name: [*values, others[name][number - 1]] for name, values in labelled.items()}
    came["y"] = [*labelled["y"], 1]
    found = gained(stored(tmp_path, came, derived=derived), old, [number], pool=pool)
    assert found is not None
    assert found["labelled"] == 1


def test_rows_of_a_pool_that_are_labelled_or_equal_labelled_ones_are_left_out(tmp_path):
    labelled = rows(labelled=ROWS)
    old = stored(tmp_path, labelled)
    same = {name: values[:10] for name, values in labelled.items() if name != "y"}
    with pytest.raises(InvalidInput, match="No row is left to label"):
        suggested(old, stored(tmp_path, same, target=None))
    with pytest.raises(InvalidInput, match="No row is left to label"):
        suggested(old)
    assert suggested(old, stored(tmp_path, rows(seed=5, count=40, labelled=39)))["unlabelled"] == 1


def test_a_pool_without_a_column_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="lacks columns that the model reads: 'z'"):
        suggested(stored(tmp_path, rows()), stored(tmp_path, {"x": [1.0, 2.0], "colour": ["red", "blue"]}, target=None))


def test_before_there_are_labels_to_learn_from_the_rows_are_spread_over_the_table(tmp_path):
    columns = rows(labelled=4)
    assert set(columns["y"][:4]) == {0, 1}
    table = stored(tmp_path, columns)
    told = suggested(table)
    assert told["task"] is None
    assert [row["why"] for row in told["rows"]] == ["spread"] * 5
    assert told["expected"] is None
    assert told["untold"].startswith("4 labels are too few")
    labels = {row["row"]: at % 2 for at, row in enumerate(told["rows"])}
    found = gained(stored(tmp_path, with_labels(columns, labels)), table, list(labels))
    assert found == {"labelled": 5, "untold": "Too few rows had labels before to judge by them."}


def test_without_a_target_it_says_what_to_state(tmp_path):
    with pytest.raises(BadTarget, match="no target"):
        suggested(stored(tmp_path, rows(), target=None))


def test_made_up_rows_are_neither_learned_from_nor_suggested(tmp_path):
    columns = rows() | {"made_up": [at in (3, 150) for at in range(ROWS)], "made_from": [None] * 160}
    columns["made_from"] = pl.Series([at + 1 if made else None for at, made in enumerate(columns["made_up"])])
    table = stored(tmp_path, columns, roles={"made_up": "ignored", "made_from": "ignored"})
    table["contract"]["synthetic"] = {"flag": "made_up", "sources": ["made_from"]}
    told = suggested(table, count=59)
    assert (told["labelled"], told["unlabelled"]) == (99, 59)
    assert 151 not in [row["row"] for row in told["rows"]]
