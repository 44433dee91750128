from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from core.training.tables import a_mixed_table
from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import best, run_batch
from mcp_server.core.tuning.spaces import defaults, first_trials, most_iterations, space
from mcp_server.core.tuning.trials import FoldedTable


def a_folded_table(task: str = "binary", rows: int = 300) -> FoldedTable:
    """Of three folds, which are enough to tell one batch from another."""
    frame, contract = a_mixed_table(rows, task=task)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))[-3:]
    return FoldedTable(frame, contract, target, folds, features=None, allow_leaks=False)


@pytest.fixture(scope="module")
def table() -> FoldedTable:
    return a_folded_table()


@pytest.mark.parametrize("algorithm", ["linear", "splines", "boosting", "extra_trees"])
def test_a_batch_depends_on_the_history_and_not_on_threads_or_on_who_runs_it(
    table: FoldedTable, algorithm: Algorithm
) -> None:
    first = run_batch(table, algorithm, [], size=2, seed=5)
    ranges = space(algorithm, table.rows, rankable=True)
    assert first[0]["parameters"] == defaults(algorithm, ranges)
    # Through JSON, as a job keeps it, and with another table's object, as another process has it.
    kept: list[dict[str, Any]] = json.loads(json.dumps(first))
    one = run_batch(table, algorithm, first, size=2, seed=5, threads=1)
    two = run_batch(a_folded_table(), algorithm, kept, size=2, seed=5, threads=3)
    assert one == two
    assert run_batch(table, algorithm, first, size=2, seed=6) != one
    shown = [json.dumps(trial["parameters"], sort_keys=True) for trial in [*first, *one]]
    assert len(set(shown)) == len(shown), "no parameters are tried twice"


def test_a_trial_that_does_worse_than_the_middle_one_is_given_up(table: FoldedTable) -> None:
    unbeatable = {"parameters": {"penalty": 1.0}, "folds": [0.01] * 3, "iterations": [], "state": "complete"}
    found = run_batch(table, "linear", [unbeatable] * 4, size=3, seed=0)
    assert [(trial["state"], len(trial["folds"])) for trial in found] == [("pruned", 2)] * 3
    assert best([unbeatable, *found]) is unbeatable


def test_when_time_is_up_only_the_defaults_are_still_tried(table: FoldedTable) -> None:
    found = run_batch(table, "linear", [], size=4, seed=0, stop=lambda: True)
    assert [trial["parameters"] for trial in found] == [defaults("linear", {})]
    assert run_batch(table, "linear", found, size=4, seed=0, stop=lambda: True) == []


def test_more_classes_and_larger_trees_leave_fewer_iterations() -> None:
    sizes = [most_iterations({"leaves": leaves}, outputs) for leaves, outputs in ((15, 1), (63, 10), (63, 50))]
    assert sizes == [600, 238, 47]
    assert all(2 * 63 * outputs * most_iterations({"leaves": 63}, outputs) <= 300_000 for outputs in (1, 10, 50))


@pytest.mark.parametrize("algorithm", ["linear", "splines", "boosting", "lightgbm", "extra_trees"])
def test_what_is_tried_first_lies_in_the_ranges(algorithm: Algorithm) -> None:
    for imbalanced, rankable, rows in ((False, False, 100), (True, True, 100_000)):
        ranges = space(algorithm, rows, imbalanced=imbalanced, rankable=rankable)
        for told in first_trials(algorithm, ranges):
            assert told.keys() == ranges.keys()
            assert all(ranges[name]._contains(ranges[name].to_internal_repr(value)) for name, value in told.items())
