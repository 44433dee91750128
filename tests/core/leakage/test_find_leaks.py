"""Leaks that must be found, and honest features that must not be called leaks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.quality.tables import contract_of, nba_games, sklearn_table
from mcp_server.core.leakage import Leak, find_leaks

N = 1_000


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def leaks_of(frame: pl.DataFrame, **units: str) -> list[Leak]:
    return find_leaks(frame, contract_of(frame, {"target": "target"}, **units), rng=rng())


def columns_of(frame: pl.DataFrame, **units: str) -> list[tuple[str, ...]]:
    return [leak.columns for leak in leaks_of(frame, **units)]


def honest(seed: int = 2) -> tuple[pl.DataFrame, np.ndarray]:
    """Two classes and two honest features, of which the first has an area under the curve of about .76."""
    source = rng(seed)
    target = source.integers(0, 2, N)
    return pl.DataFrame({"good": source.normal(target, 1.0), "noise": source.normal(size=N), "target": target}), target


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_honest_tables_have_no_leak(name: str) -> None:
    frame, contract = sklearn_table(name)
    assert find_leaks(frame, contract, rng=rng()) == []


def test_honest_features_have_no_leak() -> None:
    assert leaks_of(honest()[0]) == []


def test_a_copy_of_the_target_is_a_leak_even_with_wrong_values() -> None:
    frame, target = honest()
    wrong = rng().random(N) < 0.01
    leaks = leaks_of(frame.with_columns(copy=pl.Series(target ^ wrong)))
    assert [(leak.columns, leak.measure) for leak in leaks] == [(("copy",), "auc")]
    assert leaks[0].value == pytest.approx(0.99, abs=0.008)


def test_a_monotone_function_of_the_target_is_a_leak() -> None:
    frame, target = honest()
    margin = np.where(target == 1, 1, -1) * rng().exponential(8.0, N) + rng(3).normal(0, 0.05, N)
    assert columns_of(frame.with_columns(margin=pl.Series(margin))) == [("margin",)]


def test_a_number_of_which_ranges_go_with_classes_is_a_leak() -> None:
    frame, target = honest()
    inside = np.where(target == 1, rng().uniform(-1, 1, N), rng(4).uniform(2, 3, N) * rng(5).choice([-1, 1], N))
    leaks = leaks_of(frame.with_columns(band=pl.Series(inside)))
    assert [(leak.columns, leak.measure) for leak in leaks] == [(("band",), "errors_removed")]


def test_a_category_that_decides_the_class_is_a_leak_and_a_name_of_each_row_is_not() -> None:
    frame, target = honest()
    frame = frame.with_columns(
        outcome=pl.Series([f"{'won' if value else 'lost'} at {at % 7}" for at, value in enumerate(target)]),
        name=pl.Series([f"row {at}" for at in range(N)]),
    )
    assert columns_of(frame) == [("outcome",)]


def test_a_value_that_is_missing_exactly_for_one_class_is_a_leak() -> None:
    frame, target = honest()
    refund = pl.Series(rng().normal(size=N)).set(pl.Series(target == 0), None)
    leaks = leaks_of(frame.with_columns(refund=refund))
    assert [(leak.columns, leak.measure) for leak in leaks] == [(("refund",), "missing_auc")]


def test_a_date_after_the_event_is_a_leak() -> None:
    frame, target = honest()
    days = pl.Series(np.where(target == 1, 100, 0) + rng().integers(0, 50, N))
    frame = frame.with_columns(closed=pl.Series(days).cast(pl.Int32).cast(pl.Date))
    assert columns_of(frame) == [("closed",)]


def test_two_scores_are_a_leak_together_though_neither_is_alone() -> None:
    source = rng()
    home, away = source.normal(105, 12, (2, N)).round()
    frame = pl.DataFrame({"home": home, "away": away, "noise": source.normal(size=N)})
    frame = frame.filter(pl.col("home") != pl.col("away")).with_columns(
        target=(pl.col("home") > pl.col("away")).cast(pl.Int64)
    )
    leaks = leaks_of(frame)
    assert [leak.columns for leak in leaks] == [("home", "away")]
    assert leaks[0].value == 1.0
    assert columns_of(frame, home="points", away="metres") == []


def test_two_scores_with_draws_are_a_leak_of_three_classes() -> None:
    home, away = rng().integers(0, 6, (2, N))
    result = np.where(home > away, "home", np.where(home < away, "away", "draw"))
    frame = pl.DataFrame({"home": home, "away": away, "target": result})
    assert columns_of(frame) == [("home", "away")]


def test_the_name_of_the_winner_is_a_leak_together_with_a_side() -> None:
    teams = np.array(["ATL", "BOS", "CHI", "DEN", "LAL", "NYK"])
    home, away = teams[rng().integers(0, 6, N)], teams[rng(2).integers(0, 6, N)]
    target = rng(3).integers(0, 2, N)
    frame = pl.DataFrame({"home": home, "away": away, "winner": np.where(target == 1, home, away), "target": target})
    frame = frame.filter(pl.col("home") != pl.col("away"))
    assert set(columns_of(frame)) == {("home", "winner"), ("away", "winner")}


@pytest.mark.parametrize(
    "formula",
    [lambda a, b: a + b, lambda a, b: 3 * a - b, lambda a, b: a * b, lambda a, b: a / b],
    ids=["sum", "difference", "product", "ratio"],
)
def test_a_number_computed_from_two_features_is_a_leak(formula) -> None:  # type: ignore[no-untyped-def]
    a, b = rng().uniform(1, 9, (2, N))
    frame = pl.DataFrame({"a": a, "b": b, "c": rng(2).uniform(1, 9, N), "target": formula(a, b)})
    assert columns_of(frame) == [("a", "b")]


def test_the_target_in_another_unit_is_a_leak_of_a_number() -> None:
    celsius = rng().normal(15, 8, N)
    frame = pl.DataFrame({"fahrenheit": celsius * 1.8 + 32, "noise": rng(2).normal(size=N), "target": celsius})
    leaks = leaks_of(frame)
    assert [(leak.columns, leak.measure) for leak in leaks] == [(("fahrenheit",), "r2")]


def test_columns_that_are_no_features_are_not_looked_at() -> None:
    frame, target = honest()
    frame = frame.with_columns(copy=pl.Series(target))
    contract = contract_of(frame, {"target": "target", "copy": "known_after"})
    assert find_leaks(frame, contract, rng=rng()) == []


@pytest.mark.parametrize("rows", [0, 5, 29])
def test_too_few_rows_tell_nothing(rows: int) -> None:
    frame = pl.DataFrame({"copy": list(range(rows)), "target": [at % 2 for at in range(rows)]})
    frame = frame.cast(pl.Int64)
    contract = contract_of(honest()[0].select(pl.col("noise").alias("copy"), "target"), {"target": "target"})
    assert find_leaks(frame, contract, rng=rng()) == []


def test_without_a_target_there_is_no_leak() -> None:
    frame = honest()[0].drop("target")
    assert find_leaks(frame, contract_of(frame), rng=rng()) == []


def test_a_long_table_is_sampled_by_the_generator_it_is_given() -> None:
    frame, target = honest()
    frame = frame.with_columns(copy=pl.Series(target))
    contract = contract_of(frame, {"target": "target"})
    found = [find_leaks(frame, contract, rows_limit=200, rng=rng(seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert [leak.columns for leak in found[2]] == [("copy",)]


def test_rating_columns_of_real_games_are_honest_and_final_scores_are_not() -> None:
    games = nba_games()
    roles = {"home_win": "target", "date": "time"}
    leaks = find_leaks(games, contract_of(games, roles), rng=rng())
    assert [leak.columns for leak in leaks] == [("home_score", "away_score")]
    known_before = roles | {"home_score": "known_after", "away_score": "known_after"}
    assert find_leaks(games, contract_of(games, known_before), rng=rng()) == []
