"""Missing values: their pattern, whether the row predicts them, and what a trained model really makes of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.quality.tables import contract_of
from mcp_server.core.quality import Finding, validate
from mcp_server.core.quality.missingness import in_runs, monotone, predictability
from mcp_server.core.training.prepare import prepare
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target

ROWS = 1_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(**masks: np.ndarray) -> pl.DataFrame:
    """Independent columns, of which some lack values where a mask says so."""
    draw = rng(5)
    frame = pl.DataFrame({name: draw.normal(size=ROWS) for name in "abcde"})
    holes = [pl.when(~pl.Series(mask)).then(pl.col(name)).alias(name) for name, mask in masks.items()]
    return frame.with_columns(holes)


def found(frame: pl.DataFrame, rule: str) -> list[Finding]:
    report = validate(frame, contract_of(frame), rng=rng())
    return [finding for finding in report.findings if finding.rule == rule]


def chance(share: float, seed: int) -> np.ndarray:
    return rng(seed).random(ROWS) < share


def test_columns_missing_in_the_same_rows_are_told_together() -> None:
    rows = chance(0.1, 1)
    (finding,) = found(table(a=rows, c=rows, d=chance(0.1, 2)), "missing.together")
    assert set(finding.columns) == {"a", "c"}
    assert finding.statistic == rows.sum()


def test_a_block_of_rows_is_told_from_scattered_ones() -> None:
    block = (np.arange(ROWS) > 300) & (np.arange(ROWS) < 500)
    frame = table(a=block, b=chance(0.2, 3))
    assert [finding.columns for finding in found(frame, "missing.block")] == [("a",)]
    assert [finding.columns for finding in found(frame, "missing.scattered")] == [("b",)]


def test_a_form_that_is_broken_off_is_told_as_monotone() -> None:
    left = rng(4).integers(0, 12, ROWS)
    frame = table(a=left < 1, b=left < 3, c=left < 6)
    (finding,) = found(frame, "missing.monotone")
    assert finding.columns == ("c", "b", "a")
    assert not found(frame, "missing.scattered")


@given(st.lists(st.integers(0, 6), min_size=30, max_size=60))
def test_cutting_rows_off_after_a_column_is_always_monotone(left: list[int]) -> None:
    cut = np.array([*left, 0, 1, 2, 2, 4, 4, 5])
    assert monotone([cut < 6, cut < 3, cut < 2])


def test_values_missing_at_random_are_not_in_runs_even_where_most_are_missing() -> None:
    for share in (0.05, 0.5, 0.9, 0.97):
        assert not in_runs(chance(share, 6)), share


def test_missing_values_that_the_row_predicts_get_a_hint_with_its_interval() -> None:
    frame = table()
    hidden = frame["b"].to_numpy() + rng(8).normal(0, 0.5, ROWS) > 1.0
    frame = table(a=hidden)
    (finding,) = found(frame, "missing.predictable")
    assert finding.columns == ("a",)
    assert finding.severity == "warn"
    assert finding.statistic is not None
    assert finding.statistic > 0.9
    assert "no proof" in finding.reason


@pytest.mark.parametrize(
    "decides", ["middle", "category", "other_missing"], ids=["a middle range", "a category", "another's absence"]
)
def test_a_hint_is_given_however_the_row_tells_it(decides: str) -> None:
    frame = table(c=chance(0.3, 21)).with_columns(kind=pl.Series(rng(9).choice(["u", "v", "w"], ROWS)))
    by = {
        "middle": frame["b"].abs() < 0.4,
        "category": frame["kind"] == "v",
        "other_missing": frame["c"].is_null(),
    }[decides]
    hidden = by.to_numpy() & ~chance(0.2, 22)
    frame = frame.with_columns(a=pl.when(~pl.Series(hidden)).then(pl.col("a")))
    assert ("a",) in [finding.columns for finding in found(frame, "missing.predictable")]


def test_values_missing_at_random_get_no_such_hint() -> None:
    for seed in range(4):
        assert not found(table(a=chance(0.1, seed), b=chance(0.3, seed + 50)), "missing.predictable")


def test_pure_chance_is_never_taken_for_a_hint() -> None:
    for seed in range(10):
        area = predictability(rng(seed).normal(size=(600, 4)), rng(seed + 50).random(600) < 0.2, rng(3))
        assert area is not None
        assert area.low is not None
        assert area.low <= 0.55


def test_columns_without_any_variation_predict_nothing() -> None:
    assert predictability(np.ones((100, 2)), np.arange(100) < 50, rng()) is None


@pytest.mark.parametrize("style", ["linear", "trees"])
def test_what_is_said_of_training_is_what_training_does(style: str) -> None:
    frame = table(a=chance(0.2, 1)).with_columns(
        c=pl.when(pl.Series(chance(0.2, 2))).then(None).otherwise(pl.Series(["x", "y"] * (ROWS // 2))),
        y=pl.Series(chance(0.5, 9)).cast(pl.Int64),
    )
    contract = contract_of(frame, {"y": "target"})
    report = validate(frame, contract, rng=rng())
    said = {one.columns: one.reason for one in report.findings if one.rule == "missing.training"}
    assert "takes these missing values as they are" in said[("a",)]
    assert "fills in the median" in said[("a",)]
    assert "all zeros" in said[("c",)]
    encoder = prepare(frame, contract, ["a", "c"], rows=np.arange(ROWS), style=style).table_encoder()  # type: ignore[arg-type]
    matrix = encoder.encode(encoder.columns(frame))
    lacking_a, lacking_c = frame["a"].is_null().to_numpy(), frame["c"].is_null().to_numpy()
    if style == "trees":
        assert np.isnan(matrix[lacking_a, 0]).all()
        assert np.isnan(matrix[lacking_c, 1]).all()
    else:
        assert (matrix[lacking_a, 0] == frame["a"].median()).all()
        assert (matrix[lacking_c, 1:] == 0.0).all()
        assert matrix.shape[1] == 1 + 3  # the number, two categories, any other: no column marks what was missing


def test_rows_without_a_time_or_a_target_are_left_out_as_it_is_said() -> None:
    lacking = chance(0.1, 1)
    days = pl.Series(np.arange(ROWS)).cast(pl.Int32).cast(pl.Date)
    frame = table().with_columns(
        day=pl.select(pl.when(~pl.Series(lacking)).then(days)).to_series(),
        y=pl.select(pl.when(~pl.Series(chance(0.1, 2))).then(pl.Series(chance(0.5, 9)).cast(pl.Int64))).to_series(),
    )
    contract = contract_of(frame, {"y": "target", "day": "time"})
    report = validate(frame, contract, rng=rng())
    said = {one.columns: one.reason for one in report.findings if one.rule in ("missing.training", "target.missing")}
    assert "left out" in said[("day",)]
    assert "leaves them out" in said[("y",)]
    split = plan_split(frame, contract, describe_target(frame, contract), rng=rng())
    assert split.by_time
    assert not split.parts[lacking | frame["y"].is_null().to_numpy()].any()
