"""The answer key names exactly the rows that were spoilt, and each kind of error is what it says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mcp_server.core.simulation import faults
from mcp_server.core.simulation.faults import AnswerKey, Rates, plant_faults
from mcp_server.core.simulation.games import COLUMNS, simulate_seasons, upcoming_games
from mcp_server.errors import InvalidInput


@pytest.fixture(scope="module")
def games() -> pl.DataFrame:
    return simulate_seasons(np.random.default_rng(11), seasons=3)


@pytest.fixture(scope="module")
def planted(games: pl.DataFrame) -> tuple[pl.DataFrame, AnswerKey]:
    return plant_faults(games, np.random.default_rng(12))


def _rows(key: AnswerKey, kind: str) -> list[int]:
    rows = key[kind]
    assert isinstance(rows, list)
    assert rows == sorted(set(rows))
    return rows


def _where(mask: pl.Series) -> list[int]:
    return [row + 1 for row in mask.arg_true().to_list()]


def test_winners_contradict_scores_in_the_rows_of_the_key_and_nowhere_else(planted: tuple) -> None:
    frame, key = planted
    wrong = (frame["home_score"] > frame["away_score"]).cast(pl.Int64) != frame[faults.WINNER]
    assert _where(wrong) == _rows(key, faults.CONTRADICTIONS)


def test_duplicates_are_the_second_copies_and_the_only_ones(planted: tuple) -> None:
    frame, key = planted
    assert _where(~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series()) == _rows(key, faults.DUPLICATES)
    assert frame["date"].is_sorted()


def test_one_block_of_travel_is_a_thousand_times_too_large(planted: tuple, games: pl.DataFrame) -> None:
    frame, key = planted
    rows = _rows(key, faults.UNIT)
    factor = frame.unique(maintain_order=True)["travel_km"] / games["travel_km"]
    assert set(factor.round(6).drop_nans().to_list()) == {1.0, 1000.0}
    assert len(rows) == pytest.approx(games.height * 0.03, abs=1)
    assert rows[-1] - rows[0] < len(rows) + 40
    assert frame["travel_km"].gather([row - 1 for row in rows]).median() > games["travel_km"].max()


def test_flipped_games_have_swapped_scores_and_a_winner_that_agrees(planted: tuple, games: pl.DataFrame) -> None:
    frame, key = planted
    rows = _rows(key, faults.FLIPS)
    single = frame.with_row_index("row", offset=1).unique(frame.columns, maintain_order=True, keep="first")
    swapped = (single["home_score"] == games["away_score"]) & (single["away_score"] == games["home_score"])
    assert single.filter(swapped)["row"].to_list() == rows
    flipped = frame[[row - 1 for row in rows]]
    assert ((flipped["home_score"] > flipped["away_score"]).cast(pl.Int64) == flipped[faults.WINNER]).all()


def test_the_leaked_column_gives_the_margin_away(planted: tuple) -> None:
    frame, key = planted
    assert key[faults.LEAK] == "spread_close"
    margin = (frame["home_score"] - frame["away_score"]).to_numpy()
    assert np.corrcoef(margin, frame["spread_close"].to_numpy())[0, 1] > 0.99
    assert ((frame["spread_close"].to_numpy() > 0) == (margin > 0)).mean() > 0.99


def test_errors_come_at_their_rates_in_games_of_their_own(planted: tuple, games: pl.DataFrame) -> None:
    _, key = planted
    kinds = (faults.CONTRADICTIONS, faults.DUPLICATES, faults.FLIPS, faults.UNIT)
    shares = [len(_rows(key, kind)) / games.height for kind in kinds]
    assert shares == pytest.approx([0.01, 0.01, 0.02, 0.03], abs=0.001)
    spoilt = [row for kind in kinds for row in _rows(key, kind)]
    assert len(spoilt) == len(set(spoilt))
    assert set(key) - faults.CATCHABLE == {faults.FLIPS}


def test_without_rates_nothing_but_the_unit_and_the_leak_is_planted(games: pl.DataFrame) -> None:
    frame, key = plant_faults(games, np.random.default_rng(1), rates=Rates(0.0, 0.0, 0.0))
    assert frame.drop(faults.WINNER, faults.LEAKED, "travel_km").equals(games.drop("travel_km"))
    assert key[faults.FLIPS] == key[faults.DUPLICATES] == key[faults.CONTRADICTIONS] == []


def test_the_same_seed_plants_the_same_errors(games: pl.DataFrame) -> None:
    first, again = (plant_faults(games, np.random.default_rng(9)) for _ in range(2))
    assert first[0].equals(again[0])
    assert first[1] == again[1]


def test_games_to_come_can_be_drawn_up_from_spoilt_games(planted: tuple) -> None:
    coming = upcoming_games(planted[0], np.random.default_rng(3), 5)
    assert coming.columns == list(COLUMNS)[:-2]
    assert coming["travel_km"].max() <= 5000


def test_too_few_games_are_refused(games: pl.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="at least 200"):
        plant_faults(games.head(199), np.random.default_rng(0))
