from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_contract
from mcp_server.core.training.target import describe_target, target_values
from mcp_server.errors import BadTarget


def a_target(values: list[Any], **options: Any) -> Any:
    frame = pl.DataFrame({"x": [1.0] * len(values), "y": values})
    contract = a_contract(frame, {"y": "target"})
    found = describe_target(frame, contract, **options)
    return found, target_values(frame, contract, found)


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([True, False, True], "binary", ("0", "1")),
        ([0, 1, 1], "binary", ("0", "1")),
        ([10, 9, 2], "multiclass", ("2", "9", "10")),
        (["no", "yes", "no"], "binary", ("no", "yes")),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        ([1.5, 2.5, 3.5], "regression", None),
        ([1.0, 0.0, 1.0], "binary", ("0.0", "1.0")),
        (list(range(30)), "regression", None),
    ],
)
def test_the_kind_of_a_target(values: list[Any], task: str, classes: tuple[str, ...] | None) -> None:
    found, _ = a_target(values)
    assert (found.task, found.classes) == (task, classes)


def test_a_stated_task_holds() -> None:
    assert a_target([0, 1, 1], task="regression")[0].task == "regression"
    assert a_target([0, 1, 1, 3, 5, 8, 9], task="multiclass")[0].classes == ("0", "1", "3", "5", "8", "9")


def test_the_values_are_class_indexes_with_nan_where_missing() -> None:
    _, values = a_target(["b", None, "a"])
    assert values[0] == 1.0
    assert np.isnan(values[1])
    assert values[2] == 0.0


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([None, None], {}),
        (["a", "a"], {}),
        ([1, 1], {}),
        ([f"class {index}" for index in range(60)], {}),
        ([1, 2, 3], {"task": "binary"}),
        (["a", "b"], {"task": "regression"}),
        ([1.5, 2.5], {"task": "binary"}),
    ],
)
def test_an_unlearnable_target_is_refused(values: list[Any], options: dict[str, Any]) -> None:
    frame = pl.DataFrame({"x": [1.0] * len(values), "y": pl.Series(values, dtype=None if any(values) else pl.String)})
    with pytest.raises(BadTarget) as refusal:
        describe_target(frame, a_contract(frame, {"y": "target"}), **options)
    assert refusal.value.hint


def test_a_table_without_a_target_is_refused() -> None:
    frame = pl.DataFrame({"x": [1.0]})
    with pytest.raises(BadTarget):
        describe_target(frame, a_contract(frame, {}))
