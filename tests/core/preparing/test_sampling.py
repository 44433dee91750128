"""Samples: how many rows, which, and in proportion to what."""

from __future__ import annotations

import datetime
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.preparing.tables import a_table, made
from mcp_server.core.preparing.sampling import reservoir, stratified


def numbered(n=200):
    start = datetime.date(2020, 1, 1)
    return a_table(
        {
            "id": list(range(n)),
            "team": ["BOS" if at % 10 else "NYK" for at in range(n)],
            "weight": [float(at % 4) for at in range(n)],
            "day": [start + datetime.timedelta(days=at) for at in range(n)],
        },
        time="day",
        key=["id"],
    )


def ids(table):
    return table.frame["id"].to_list()


@pytest.mark.parametrize("by", ["random", "reservoir"])
def test_a_sample_has_the_stated_size_no_row_twice_and_the_order_of_the_table(by):
    kept = ids(made(numbered(), {"do": "sample", "by": by, "rows": 50}))
    assert len(set(kept)) == 50
    assert kept == sorted(kept)
    assert kept == ids(made(numbered(), {"do": "sample", "by": by, "rows": 50}))
    assert kept != ids(made(numbered(), {"do": "sample", "by": by, "rows": 50}, seed=1))
    assert len(ids(made(numbered(), {"do": "sample", "by": by, "share": 0.125}))) == 25


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.data())
def test_each_stratum_keeps_its_share_within_one_row(strata, data):
    wanted = data.draw(st.integers(1, len(strata)))
    kept, names = stratified(np.array(strata), wanted, np.random.default_rng(0))
    sizes, taken = Counter(strata), Counter(strata[at] for at in kept)
    assert len(set(kept.tolist())) == wanted
    assert names == len(sizes)
    for name, size in sizes.items():
        assert abs(taken[name] - size * wanted / len(strata)) < 1


def test_strata_may_be_several_columns_and_missing_is_one():
    table = a_table({"a": ["x", None] * 50, "b": [at // 50 for at in range(100)], "z": list(range(100))}, key=[])
    kept = made(table, {"do": "sample", "by": "stratified", "strata": ["a", "b"], "share": 0.2}).frame
    assert Counter(zip(kept["a"], kept["b"], strict=True)) == {(a, b): 5 for a in ("x", None) for b in (0, 1)}


@given(st.integers(1, 60), st.data())
def test_a_reservoir_holds_as_many_different_rows_as_wanted(rows, data):
    wanted = data.draw(st.integers(1, rows))
    kept = reservoir(rows, wanted, np.random.default_rng(data.draw(st.integers(0, 1_000)))).tolist()
    assert len(set(kept)) == wanted
    assert 0 <= min(kept) <= max(kept) < rows


def test_a_reservoir_takes_every_row_equally_often():
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([reservoir(20, 5, rng) for _ in range(8_000)]), minlength=20)
    # 8,000 draws of 5 in 20: 2,000 each, standard deviation 39.
    assert np.abs(counts - 2_000).max() < 4.5 * 39


def test_weights_draw_in_proportion_and_never_a_row_of_weight_zero():
    kept = made(numbered(4_000), {"do": "sample", "by": "weighted", "weight": "weight", "rows": 300}).frame
    counts = Counter(kept["weight"].to_list())
    assert counts[0.0] == 0
    # Of 300 draws a sixth, a third and a half; the standard deviation is under 9.
    assert [abs(counts[w] - 50 * w) < 36 for w in (1.0, 2.0, 3.0)] == [True] * 3


def test_by_time_it_is_the_last_or_first_rows_of_each_period():
    table = numbered(60)  # 31 days of January, 29 of February
    step = {"do": "sample", "by": "time", "per": "month", "rows": 2}
    assert ids(made(table, step)) == [29, 30, 58, 59]
    assert ids(made(table, {**step, "take": "first"})) == [0, 1, 31, 32]
    assert len(ids(made(table, {**step, "take": "random"}))) == 4
    assert ids(made(table, {"do": "sample", "by": "time", "share": 0.05})) == [57, 58, 59]


def test_whole_numbers_of_time_are_periods_themselves():
    table = a_table({"id": [1, 2, 3, 4], "season": [2010, 2010, 2011, 2011], "z": [0.5] * 4}, time="season", key=["id"])
    assert ids(made(table, {"do": "sample", "by": "time", "per": "value", "rows": 1, "take": "first"})) == [1, 3]
