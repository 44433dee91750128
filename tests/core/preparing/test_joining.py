"""Joins: rows are never doubled, and as-of joins never look ahead."""

from __future__ import annotations

import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.preparing.tables import a_table, made, prepared, roles
from mcp_server.errors import PlanRefused


def day(number: int) -> datetime.date:
    return datetime.date(2020, 1, 1) + datetime.timedelta(days=number)


def test_a_plain_join_brings_columns_with_their_roles_units_and_lineage():
    ours = a_table({"team": ["BOS", "NYK", "LAL", None], "x": [1.5, 2.5, 3.5, 4.5]}, key=[])
    theirs = a_table(
        {"team": ["NYK", "BOS"], "coach": ["b@x.org", "a@x.org"], "wins": [3, 5], "lost": [7, 5]},
        derived={"share": "wins / (wins + lost)", "good": "share > 0.4"},
        target="good",
        key=["team"],
        units={"wins": "games"},
        personal={"coach": True},
    )
    done = prepared(ours, {"do": "join", "with": "theirs", "on": ["team"], "prefix": "t_"}, theirs=theirs)
    table = done.table
    assert table.frame["t_wins"].to_list() == [5, 3, None, None]
    assert table.frame["team"].to_list() == ["BOS", "NYK", "LAL", None]
    assert roles(table)["t_good"] == roles(table)["t_wins"] == roles(table)["t_share"] == "known_after"
    assert table.contract.column("t_coach").personal
    assert table.contract.column("t_wins").unit == "games"
    assert table.contract.ingredients["t_good"] == {"t_share"}
    assert "Found a row for 2 of 4 rows" in done.steps[0].said


def test_an_inner_join_keeps_the_rows_that_found_one():
    ours = a_table({"team": ["BOS", "NYK", "LAL"], "x": [1, 2, 3]}, key=[])
    theirs = a_table({"who": ["LAL", "BOS"], "wins": [3, 5]}, key=["who"])
    step = {"do": "join", "with": "theirs", "on": {"team": "who"}, "how": "inner"}
    assert made(ours, step, theirs=theirs).frame["wins"].to_list() == [5, 3]


def history(rows):
    return a_table(
        {
            "team": [team for team, _, _ in rows],
            "day": [day(at) for _, at, _ in rows],
            "points": [p for _, _, p in rows],
        },
        time="day",
        key=[],
    )


def test_an_as_of_join_takes_the_latest_row_before():
    ours = history([("BOS", 3, 0), ("BOS", 1, 0), ("NYK", 9, 0), ("LAL", 5, 0)])
    theirs = history([("BOS", 1, 10), ("BOS", 2, 20), ("BOS", 3, 30), ("NYK", 2, 40)])
    step = {"do": "join", "with": "theirs", "on": ["team"], "as_of": True, "prefix": "last_"}
    assert made(ours, step, theirs=theirs).frame["last_points"].to_list() == [20, None, 40, None]
    at_it = made(ours, {**step, "same_time": True}, theirs=theirs)
    assert at_it.frame["last_points"].to_list() == [30, 10, 40, None]
    near = made(ours, {**step, "within": 2.0}, theirs=theirs)
    assert near.frame["last_points"].to_list() == [20, None, None, None]


def test_what_was_known_after_an_earlier_event_may_be_stated_a_feature_of_a_later_one():
    theirs = history([("BOS", 1, 10), ("BOS", 2, 20)])
    theirs = made(theirs, {"do": "derive", "columns": {"double": "points * 2"}}).with_roles({"points": "known_after"})
    step = {"do": "join", "with": "theirs", "on": ["team"], "as_of": True, "prefix": "l_"}
    kept = made(history([("BOS", 3, 0)]), step, theirs=theirs)
    assert roles(kept)["l_points"] == roles(kept)["l_double"] == "known_after"
    stated = made(history([("BOS", 3, 0)]), {**step, "features": ["points", "double"]}, theirs=theirs)
    assert roles(stated)["l_points"] == roles(stated)["l_double"] == "feature"


rows = st.lists(
    st.tuples(st.sampled_from(["BOS", "NYK"]), st.integers(0, 12), st.integers(0, 999)), min_size=1, max_size=25
)


@given(rows, rows, st.booleans())
def test_an_as_of_join_never_looks_ahead_and_never_passes_a_later_row_over(ours, theirs, same_time):
    step = {"do": "join", "with": "theirs", "on": ["team"], "as_of": True, "same_time": same_time, "prefix": "l_"}
    numbered = [(team, at, number) for number, (team, at, _) in enumerate(theirs)]
    found = made(history(ours), step, theirs=history(numbered)).frame
    for (team, at, _), number in zip(ours, found["l_points"].to_list(), strict=True):
        before = [then for who, then, _ in numbered if who == team and (then < at or (same_time and then == at))]
        if number is None:
            assert not before
        else:
            assert numbered[number][0] == team
            assert numbered[number][1] == max(before)


def test_a_day_is_not_joined_to_an_instant():
    ours = history([("BOS", 3, 0)])
    instants = a_table(
        {"team": ["BOS"], "at": pl.Series([datetime.datetime(2020, 1, 3, 18, tzinfo=datetime.UTC)]), "p": [1]},
        time="at",
        key=[],
    )
    with pytest.raises(PlanRefused, match="is date here and datetime"):
        made(ours, {"do": "join", "with": "b", "on": ["team"], "as_of": True}, b=instants)


def test_a_season_orders_as_well_as_a_date():
    ours = a_table({"team": ["BOS", "BOS"], "season": [2010, 2012], "x": [1, 2]}, time="season", key=[])
    theirs = a_table({"team": ["BOS", "BOS"], "season": [2009, 2011], "w": [5, 6]}, time="season", key=[])
    step = {"do": "join", "with": "theirs", "on": ["team"], "as_of": True}
    assert made(ours, step, theirs=theirs).frame["w"].to_list() == [5, 6]


def test_a_taken_name_is_refused():
    with pytest.raises(PlanRefused, match="'points' already"):
        made(
            history([("BOS", 3, 0)]),
            {"do": "join", "with": "b", "on": ["team"], "as_of": True},
            b=history([("BOS", 1, 2)]),
        )
