"""Simulated seasons look like the real thing, are the same for a seed, and never claim to be real."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcp_server.core.simulation import elo
from mcp_server.core.simulation.games import COLUMNS, NOTICE, simulate_seasons, upcoming_games
from mcp_server.core.simulation.league import CITIES, ROUNDS, regular_season
from mcp_server.errors import InvalidInput

REAL_CODES = """
ATL BOS BRK BKN CHI CHA CHO CLE DAL DEN DET GSW HOU IND LAC LAL MEM MIA MIL MIN NOP NYK OKC ORL PHI PHX PHO POR SAC SAS
TOR UTA WAS
"""


@pytest.fixture(scope="module")
def games() -> pl.DataFrame:
    return simulate_seasons(np.random.default_rng(7))


def _area_under_curve(happened: NDArray[np.bool_], forecast: NDArray[np.float64]) -> float:
    ranks = pl.Series(forecast).rank().to_numpy()
    came, missed = int(happened.sum()), int((~happened).sum())
    return float((ranks[happened].sum() - came * (came + 1) / 2) / (came * missed))


def test_the_games_say_that_they_are_simulated_and_name_no_real_team(games: pl.DataFrame) -> None:
    assert "not real" in NOTICE
    assert not set(games["home"]) & set(REAL_CODES.split())
    assert set(games["home"]) == set(CITIES)
    assert len(CITIES) == 30


def test_there_are_about_as_many_games_as_thirty_teams_play_in_eight_seasons(games: pl.DataFrame) -> None:
    assert 9_600 <= games.height <= 10_000
    assert games.schema == pl.Schema(COLUMNS)
    assert games.null_count().sum_horizontal()[0] == 0
    assert games["season"].unique().sort().to_list() == list(range(2018, 2026))
    assert games["date"].is_sorted()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_known_before_a_game_tells_as_much_as_in_the_real_game(seed: int) -> None:
    games = simulate_seasons(np.random.default_rng(seed), seasons=5).filter(pl.col("season") > 2018)
    home_won = (games["home_score"] > games["away_score"]).to_numpy()
    forecast = games["elo_home_win_prob"].to_numpy()
    log_loss = -np.log(np.where(home_won, forecast, 1 - forecast)).mean()
    assert 0.57 <= home_won.mean() <= 0.63
    assert 0.67 <= _area_under_curve(home_won, forecast) <= 0.73
    assert 0.59 <= log_loss <= 0.64


def test_scores_are_whole_near_a_hundred_and_never_equal(games: pl.DataFrame) -> None:
    for column in ("home_score", "away_score"):
        assert 95 <= games[column].mean() <= 110
        assert games[column].min() >= 40
    assert (games["home_score"] != games["away_score"]).all()


def test_ratings_are_those_before_the_game_and_follow_results() -> None:
    season = simulate_seasons(np.random.default_rng(3), seasons=1, teams=6)
    ratings = dict.fromkeys(season["home"].unique(), elo.AVERAGE)
    for game in season.iter_rows(named=True):
        home, away = game["home"], game["away"]
        assert game["home_elo"] == pytest.approx(ratings[home], abs=0.006)
        assert game["away_elo"] == pytest.approx(ratings[away], abs=0.006)
        margin = game["home_score"] - game["away_score"]
        won = elo.points_won(ratings[home], ratings[away], margin, neutral=bool(game["neutral"]))
        ratings[home] += won
        ratings[away] -= won
    assert sum(ratings.values()) == pytest.approx(6 * elo.AVERAGE)


def test_rest_is_the_days_since_the_last_game(games: pl.DataFrame) -> None:
    season = games.filter(pl.col("season") == 2020)
    last = {}
    for game in season.iter_rows(named=True):
        for side in ("home", "away"):
            team = game[side]
            expected = min((game["date"] - last[team]).days, 7) if team in last else 7
            assert game[f"{side}_rest_days"] == expected
            last[team] = game["date"]


def test_travel_is_within_the_map(games: pl.DataFrame) -> None:
    assert games["travel_km"].min() >= 0
    assert games["travel_km"].max() <= 5000


def test_a_finished_season_ends_with_one_champion() -> None:
    games = simulate_seasons(np.random.default_rng(2), seasons=1, in_progress=False)
    finals = games.filter(pl.col("playoff") == 1).tail(7)
    last = finals.row(-1, named=True)
    pair = {last["home"], last["away"]}
    final = finals.filter(pl.col("home").is_in(pair) & pl.col("away").is_in(pair))
    winners = [g["home"] if g["home_score"] > g["away_score"] else g["away"] for g in final.iter_rows(named=True)]
    assert sorted(Counter(winners).values())[-1] == 4
    assert Counter(winners)[winners[-1]] == 4


def test_the_same_seed_gives_the_same_games_and_another_gives_others() -> None:
    first, again, other = (simulate_seasons(np.random.default_rng(s), seasons=2) for s in (5, 5, 6))
    assert first.equals(again)
    assert not first.equals(other)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 15).map(lambda half: 2 * half), st.integers(0, 2**32))
def test_every_team_plays_its_games_half_at_home_and_once_a_day(teams: int, seed: int) -> None:
    fixtures = regular_season(np.random.default_rng(seed), teams)
    home, away = Counter(f.home for f in fixtures), Counter(f.away for f in fixtures)
    assert all(home[team] == away[team] == ROUNDS // 2 for team in range(teams))
    playing = Counter((f.day, team) for f in fixtures for team in (f.home, f.away))
    assert set(playing.values()) == {1}
    assert [f.day for f in fixtures] == sorted(f.day for f in fixtures)


@given(st.floats(1000, 2000), st.floats(1000, 2000), st.booleans(), st.integers(1, 60))
def test_a_winner_never_loses_points_and_an_upset_gains_more(a: float, b: float, neutral: bool, margin: int) -> None:
    won, lost = elo.points_won(a, b, margin, neutral=neutral), elo.points_won(a, b, -margin, neutral=neutral)
    assert won > 0 > lost
    if elo.home_win_probability(a, b, neutral=neutral) > 0.5:
        assert won <= -lost
    else:
        assert won >= -lost


def test_a_lead_of_four_hundred_points_is_worth_ten_to_one() -> None:
    assert elo.home_win_probability(1900.0, 1500.0, neutral=True) == pytest.approx(10 / 11)


def test_upcoming_games_are_tomorrow_between_different_teams_without_scores(games: pl.DataFrame) -> None:
    coming = upcoming_games(games, np.random.default_rng(1), 5)
    assert coming.columns == list(COLUMNS)[:-2]
    assert coming["date"].unique().to_list() == [games["date"].max() + timedelta(days=1)]
    assert len({*coming["home"], *coming["away"]}) == 10
    for column in ("home_elo", "away_elo", "travel_km", "home_rest_days"):
        assert games[column].min() <= coming[column].min()
        assert coming[column].max() <= games[column].max()


def test_upcoming_ratings_follow_the_last_result(games: pl.DataFrame) -> None:
    coming = upcoming_games(games, np.random.default_rng(1), 15)
    game = coming.row(0, named=True)
    team = game["home"]
    last = games.filter((pl.col("home") == team) | (pl.col("away") == team)).row(-1, named=True)
    before = last["home_elo"] if last["home"] == team else last["away_elo"]
    won = (last["home_score"] > last["away_score"]) == (last["home"] == team)
    assert (game["home_elo"] > before) == won


def test_an_odd_number_of_teams_is_refused() -> None:
    with pytest.raises(InvalidInput, match="even number"):
        simulate_seasons(np.random.default_rng(0), teams=7)


def test_more_upcoming_games_than_teams_is_refused() -> None:
    season = simulate_seasons(np.random.default_rng(0), seasons=1, teams=4)
    with pytest.raises(InvalidInput, match="1 to 2 games"):
        upcoming_games(season, np.random.default_rng(0), 3)
