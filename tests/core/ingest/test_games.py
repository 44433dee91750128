"""Real seasons of basketball, from the file to the data set."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mcp_server.core.contract import Derived
from mcp_server.core.ingest import read_csv, shape_table
from mcp_server.core.profile import profile

FILE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "nba" / "nba_games_1947_2015.csv"


@pytest.fixture(scope="module")
def table():
    if not FILE.is_file():
        pytest.skip("the seasons 1947 to 2015 aren't beside this repository")
    with FILE.open("rb") as file:
        return read_csv(file)


def test_every_game_is_read_as_polars_reads_it(table):
    assert table.frame.equals(pl.read_csv(FILE, try_parse_dates=True))
    assert table.notes == ()


def test_winners_since_1985_are_derived(table):
    frame, contract = shape_table(
        table.frame,
        target="home_win",
        row_filter="season >= 1985",
        derived=[
            Derived(name="home_win", expression="home_score > away_score"),
            Derived(name="elo_diff", expression="home_elo - away_elo"),
        ],
    )
    expected = table.frame.filter(pl.col("season") >= 1985)
    assert frame.height == expected.height == 37_342
    assert frame["home_win"].sum() == (expected["home_score"] > expected["away_score"]).sum()
    assert frame["elo_diff"].equals(expected["home_elo"] - expected["away_elo"])
    assert (contract.target, contract.time, contract.key) == ("home_win", "date", ())
    assert contract.column("season").minimum == 1985
    assert contract.column("home_score").role == contract.column("away_score").role == "known_after"
    assert [column.name for column in contract.features] == [
        "season",
        "neutral",
        "playoff",
        "home",
        "away",
        "home_elo",
        "away_elo",
        "elo_home_win_prob",
        "elo_diff",
    ]


def test_the_profile_counts_the_games(table):
    found = profile(*shape_table(table.frame))
    assert (found["rows"], found["columns"], found["duplicate_rows"]) == (63_157, 11, 0)
    assert found["truncated"] is False
