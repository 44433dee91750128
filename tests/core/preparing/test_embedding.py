"""Embeddings: target rates without a row's own outcome, hashing, and character n-grams."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from core.preparing.tables import a_table, made, prepared, roles
from mcp_server.core.preparing.embedding import earlier_rates, folded_rates, hashed
from mcp_server.core.preparing.looking import look
from mcp_server.core.preparing.table import Context, DataTable

TARGET = {"do": "embed", "column": "team", "by": "target"}


def noise(rows=1_500, teams=400, seed=0, *, time=False):
    """A target that nothing tells of, and a category with so many values that each has few rows."""
    rng = np.random.default_rng(seed)
    columns = {
        "team": [f"t{at}" for at in rng.integers(0, teams, rows)],
        "x": rng.normal(size=rows),
        "y": rng.random(rows) < 0.5,
    }
    if time:
        columns["season"] = np.arange(rows) // 50
    return a_table(columns, target="y", key=[], **({"time": "season"} if time else {}))


@pytest.mark.parametrize("time", [False, True], ids=["out of fold", "from earlier rows"])
def test_rates_of_a_target_of_pure_noise_tell_nothing_where_naive_rates_seem_to(time):
    table = noise(time=time)
    train = look(table, Context(np.random.default_rng(0), 0), None).train
    found = made(table, TARGET).frame[train]
    y = found["y"].to_numpy()
    naive = found.select(pl.col("y").cast(pl.Float64).mean().over("team")).to_series().to_numpy()
    honest = found["team_target"].fill_null(0.5).to_numpy()
    assert roc_auc_score(y, naive) > 0.75  # the control
    assert roc_auc_score(y, honest) < 0.55


codes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), min_size=4, max_size=40)


@given(codes, st.data())
def test_a_rows_own_outcome_never_moves_its_own_rate(rows, data):
    code = np.array([row[0] for row in rows])
    moment = np.array([row[1] for row in rows])
    outcome = np.array([[float(row[2])] for row in rows])
    at = data.draw(st.integers(0, len(rows) - 1))
    other = outcome.copy()
    other[at] = 1 - other[at]

    def folded(outcomes):
        return folded_rates(code, outcomes, 3, 1.0, np.random.default_rng(0))[at]

    def earlier(outcomes):
        return earlier_rates(code, moment, outcomes, 1.0)[at]

    assert np.array_equal(folded(outcome), folded(other), equal_nan=True)
    assert np.array_equal(earlier(outcome), earlier(other), equal_nan=True)


@given(codes)
def test_earlier_rates_are_what_a_loop_over_the_earlier_rows_gives(rows):
    code = np.array([row[0] for row in rows])
    moment = np.array([row[1] for row in rows])
    outcome = np.array([[float(row[2])] for row in rows])
    found = earlier_rates(code, moment, outcome, 2.0)
    for at in range(len(rows)):
        before = moment < moment[at]
        same = before & (code == code[at])
        if not before.any():
            assert np.isnan(found[at])
        else:
            expected = (outcome[same].sum() + 2.0 * outcome[before].mean()) / (same.sum() + 2.0)
            assert np.isclose(found[at][0], expected)


def test_rates_by_hand():
    # Team a: 1, 1, 0; team b: 0. Smoothing 1 towards the mean of the rows before.
    found = earlier_rates(np.array([0, 0, 1, 0]), np.array([0, 1, 2, 3]), np.array([[1.0], [1.0], [0.0], [0.0]]), 1.0)
    assert np.isnan(found[0])
    assert found[1:].ravel().tolist() == pytest.approx([(1 + 1) / 2, (0 + 1) / 1, (2 + 2 / 3) / 3])


def test_rows_that_judge_get_the_rates_of_all_that_teach_and_give_nothing():
    table = noise(teams=10, time=True)
    step = {**TARGET, "test": "season >= 20", "smoothing": 0.0}
    done = prepared(table, step)
    judged = done.table.frame.filter(pl.col("season") >= 20)
    values = done.fitted["1"]["values"]
    assert judged["team_target"].to_list() == [values[team][0] for team in judged["team"]]
    flipped = table.frame.with_columns(y=pl.when(pl.col("season") >= 20).then(~pl.col("y")).otherwise("y"))
    again = made(DataTable(flipped, table.contract), step)
    assert again.frame["team_target"].equals(done.table.frame["team_target"])


def test_three_classes_make_a_rate_each_and_a_number_makes_its_mean():
    rng = np.random.default_rng(0)
    columns = {"team": rng.choice(["a", "b"], 600), "x": rng.normal(size=600)}
    grades = a_table({**columns, "y": rng.choice(["low", "mid", "top"], 600)}, target="y", key=[])
    names = ["team_target_1", "team_target_2", "team_target_3"]
    table = made(grades, TARGET)
    assert np.allclose(table.frame.select(pl.sum_horizontal(names)).to_series(), 1.0)
    assert [roles(table)[name] for name in names] == ["feature"] * 3
    values = 10.0 + (columns["team"] == "a") + rng.normal(scale=0.01, size=600)
    number = made(a_table({**columns, "y": values}, target="y", key=[]), {**TARGET, "smoothing": 0.0})
    means = number.frame.group_by("team").agg(pl.col("team_target").mean()).sort("team")["team_target"]
    assert means.to_list() == pytest.approx([11.0, 10.0], abs=0.01)


def test_hashing_gives_equal_values_equal_vectors_and_missing_ones_none():
    table = a_table({"team": ["a", "b", "a", None, "c", "d"], "x": [0.5] * 6}, key=[])
    done = prepared(table, {"do": "embed", "column": "team", "by": "hashing", "width": 4, "prefix": "h"})
    vectors = done.table.frame.select("h_1", "h_2", "h_3", "h_4").rows()
    assert vectors[0] == vectors[2]
    assert vectors[3] == (0.0,) * 4
    place, sign = hashed("b", 4)
    assert vectors[1] == tuple(sign if at == place else 0.0 for at in range(4))


def test_texts_that_share_parts_of_words_lie_near_each_other():
    rng = np.random.default_rng(0)
    first, second = ["basketball", "basketballs", "basket"], ["weather", "weathered", "whether"]
    texts = [f"{rng.choice(group)} {rng.choice(group)} {at}" for at in range(150) for group in (first, second)]
    table = a_table({"text": texts, "x": np.arange(300.0)}, key=[])
    done = prepared(table, {"do": "embed", "column": "text", "by": "text", "width": 3})
    vectors = done.table.frame.select("text_text_1", "text_text_2", "text_text_3").to_numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors[::2] @ vectors[::2].T
    far = vectors[::2] @ vectors[1::2].T
    assert near.mean() > far.mean() + 0.5
    # What is stored is enough to make the vectors again.
    fitted = done.fitted["1"]
    assert (len(fitted["idf"]), len(fitted["axes"]), len(fitted["axes"][0])) == (4_096, 3, 4_096)


def test_text_is_fitted_on_rows_that_teach():
    table = noise(time=True)
    step = {"do": "embed", "column": "team", "by": "text", "width": 2, "test": "season >= 20"}
    renamed = table.frame.with_columns(
        team=pl.when(pl.col("season") >= 20).then(pl.lit("quite another text")).otherwise("team")
    )
    one, other = prepared(table, step), prepared(DataTable(renamed, table.contract), step)
    assert one.fitted == other.fitted
    assert not one.table.frame["team_text_1"].equals(other.table.frame["team_text_1"])


def test_what_is_made_of_a_personal_column_is_personal():
    table = a_table({"mail": [f"p{at}@x.org" for at in range(40)], "x": [0.5] * 40}, key=[], personal={"mail": True})
    made_of = made(table, {"do": "embed", "column": "mail", "by": "hashing", "width": 2})
    assert made_of.contract.column("mail_hashing_1").personal
    assert made_of.contract.ingredients["mail_hashing_1"] == {"mail"}
