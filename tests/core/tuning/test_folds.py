from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.training.tables import a_contract
from mcp_server.core.training.split import Split, plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.tuning.folds import Fold, plan_folds
from mcp_server.core.tuning.trials import FoldedTable
from mcp_server.errors import TrainingRefused


def folded(frame: pl.DataFrame, roles: dict[str, str], seed: int = 0) -> tuple[Split, tuple[Fold, ...]]:
    contract = a_contract(frame, {"y": "target", **roles})
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(seed))
    return split, plan_folds(frame, contract, target, split, rng=np.random.default_rng(seed + 1))


def a_frame(rows: int, seed: int, **more: Any) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"x": rng.normal(size=rows), "y": (rng.random(rows) < 0.3).astype(int), **more})


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(150, 2_000), seed=st.integers(0, 1000))
def test_each_row_that_is_learned_from_judges_once_and_no_other_row_is_touched(rows: int, seed: int) -> None:
    frame = a_frame(rows, seed)
    split, folds = folded(frame, {}, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.judge for fold in folds])), split.train)
    target = frame["y"].to_numpy()
    for fold in folds:
        assert not set(fold.fit) & set(fold.judge)
        assert set(fold.fit) | set(fold.judge) == set(split.train)
        assert target[fold.judge].mean() == pytest.approx(target[split.train].mean(), abs=2 / len(fold.judge))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(400, 2_000), days=st.integers(60, 400), seed=st.integers(0, 1000))
def test_in_time_every_fold_learns_from_what_came_before_with_a_gap(rows: int, days: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    day = [date(2010, 1, 1) + timedelta(days=int(number)) for number in rng.integers(0, days, rows)]
    frame = a_frame(rows, seed, day=pl.Series(day))
    split, folds = folded(frame, {"day": "time"}, seed)
    days_of = frame["day"].to_numpy()
    known = np.unique(days_of[split.train])
    for fold in folds:
        assert set(fold.fit) | set(fold.judge) <= set(split.train)
        between = known[(known > days_of[fold.fit].max()) & (known < days_of[fold.judge].min())]
        assert len(between) >= 1, "a day is left out"


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(15, 200), seed=st.integers(0, 1000))
def test_rows_of_one_key_stay_together_in_the_split_and_in_every_fold(groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = a_frame(1_200, seed, patient=rng.integers(0, groups, 1_200))
    split, folds = folded(frame, {"patient": "key"}, seed)
    patient = frame["patient"].to_numpy()
    assert not set(patient[split.train]) & set(patient[split.test])
    assert 0.1 <= len(split.test) / 1_200 <= 0.35
    for fold in folds:
        assert not set(patient[fold.fit]) & set(patient[fold.judge])
    assert "whole groups" in split.how


def test_a_key_that_names_each_row_once_makes_no_groups() -> None:
    frame = a_frame(300, 0, id=np.arange(300))
    split, _ = folded(frame, {"id": "key"})
    assert "drawn by class" in split.how


def test_too_few_moments_to_roll_over_are_refused() -> None:
    day = [date(2010 + (row >= 50) + (row >= 160), 1, 1) for row in range(200)]
    frame = a_frame(200, 0, day=pl.Series(day))
    with pytest.raises(TrainingRefused) as refusal:
        folded(frame, {"day": "time"})
    assert "without seconds" in refusal.value.hint


def test_what_judges_a_fold_decides_nothing_of_how_it_is_encoded() -> None:
    rng = np.random.default_rng(0)
    frame = a_frame(400, 0, colour=rng.choice(["blue", "red"], 400)).with_columns(
        x=pl.when(pl.Series(rng.random(400) < 0.1)).then(None).otherwise(pl.col("x"))
    )
    contract = a_contract(frame, {"y": "target"})
    target = describe_target(frame, contract)
    _, folds = folded(frame, {})
    fold = folds[0]
    judged = pl.Series(np.isin(np.arange(400), fold.judge))
    spoilt = frame.with_columns(
        x=pl.when(judged).then(1e6).otherwise(pl.col("x")),
        colour=pl.when(judged).then(pl.lit("violet")).otherwise(pl.col("colour")),
    )
    for algorithm in ("linear", "boosting"):
        whole, changed = (
            FoldedTable(table, contract, target, [fold], features=None, allow_leaks=False).parts(algorithm)[0]
            for table in (frame, spoilt)
        )
        np.testing.assert_array_equal(whole.matrix, changed.matrix)
