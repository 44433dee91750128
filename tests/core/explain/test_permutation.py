"""What shuffling a column costs, on rows that were not learned from."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.predictor.forms import a_form, a_linear_form, an_input, number, product
from mcp_server.core.explain import permutation_importance
from mcp_server.core.explain.permutation import used_inputs
from mcp_server.core.predictor.batch import compile_batch


def a_line(*coefficients: float) -> dict:
    """A regression on columns c0, c1 ..."""
    names = [f"c{at}" for at in range(len(coefficients))]
    return a_linear_form(
        inputs=[an_input(name, low=-10.0, high=10.0) for name in names],
        encoder=[number(name, 0.0) for name in names],
        estimator={"kind": "linear", "coefficients": [list(coefficients)], "intercepts": [0.0]},
    )


def normals(rng: np.random.Generator, rows: int, columns: int) -> pl.DataFrame:
    return pl.DataFrame({f"c{at}": rng.normal(size=rows) for at in range(columns)})


def test_the_column_that_matters_comes_first_and_one_that_is_not_used_costs_nothing():
    rng = np.random.default_rng(0)
    frame = normals(rng, 400, 3)
    target = (3 * frame["c0"] + frame["c1"]).to_numpy() + rng.normal(size=400)
    found = permutation_importance(
        compile_batch(a_line(3.0, 1.0, 0.0)), frame, target, columns=["c0", "c1", "c2"], rng=rng
    )
    assert [one.column for one in found] == ["c0", "c1", "c2"]
    assert found[0].low > found[1].high > 0.0
    assert (found[2].increase, found[2].low, found[2].high) == (0.0, 0.0, 0.0)


def test_the_increase_is_what_shuffling_costs_in_expectation():
    """Without noise in x: the squared error of a shuffled x is twice its variance times the coefficient's square."""
    rng = np.random.default_rng(5)
    frame = normals(rng, 4_000, 1)
    target = 2.0 * frame["c0"].to_numpy() + rng.normal(size=4_000)
    (one,) = permutation_importance(compile_batch(a_line(2.0)), frame, target, columns=["c0"], rng=rng)
    assert one.low < np.sqrt(1.0 + 2.0 * 4.0) - 1.0 < one.high


def test_the_interval_of_a_column_of_noise_covers_zero_about_as_often_as_it_says():
    """A model that leans on noise, as an overfitted one does: shuffling it changes nothing on new rows on average."""
    rng = np.random.default_rng(11)
    predictor = compile_batch(a_line(1.0, 0.3))
    covered = 0
    for _ in range(100):
        frame = normals(rng, 150, 2)
        target = frame["c0"].to_numpy() + rng.normal(size=150)
        (one,) = permutation_importance(predictor, frame, target, columns=["c1"], rng=rng)
        covered += one.low <= 0.0 <= one.high
    assert covered >= 89  # binomial(100, .95) is below 89 in 1 % of cases


def test_what_is_derived_from_a_column_is_shuffled_with_it():
    form = a_linear_form(
        derived=[{"name": "gap", "expression": "home - away"}],
        inputs=[an_input("home"), an_input("away"), an_input("gap", low=-100.0)],
        encoder=[number("gap", 0.0)],
        estimator={"kind": "linear", "coefficients": [[1.0]], "intercepts": [0.0]},
    )
    predictor = compile_batch(form)
    assert used_inputs(predictor.form) == {"home", "away"}
    rng = np.random.default_rng(2)
    home, away = rng.uniform(0, 100, 200), rng.uniform(0, 50, 200)
    # The stated column would hide the shuffling of its sources.
    frame = pl.DataFrame({"home": home, "away": away, "gap": home - away})
    found = permutation_importance(predictor, frame, home - away, columns=["home", "away"], rng=rng)
    assert [one.column for one in found] == ["home", "away"]
    assert found[1].low > 1.0


def test_a_column_of_a_product_is_shuffled_and_the_product_follows():
    """y = x * z: of a shuffled x the squared error is twice its variance times the mean square of z."""
    form = a_linear_form(
        inputs=[an_input(name, low=-10.0, high=10.0) for name in "xzu"],
        encoder=[*(number(name, 0.0) for name in "xzu"), product(0, 1)],
        estimator={"kind": "linear", "coefficients": [[0.0, 0.0, 0.0, 1.0]], "intercepts": [0.0]},
    )
    predictor = compile_batch(form)
    assert used_inputs(predictor.form) == {"x", "z"}
    rng = np.random.default_rng(4)
    frame = pl.DataFrame({name: rng.normal(size=4_000) for name in "xzu"})
    target = (frame["x"] * frame["z"]).to_numpy() + rng.normal(size=4_000)
    found = permutation_importance(predictor, frame, target, columns=["x", "z", "u"], rng=rng)
    for one in found[:2]:
        assert one.low < np.sqrt(3.0) - 1.0 < one.high
    assert (found[2].column, found[2].increase) == ("u", 0.0)


def test_classes_are_judged_by_log_loss():
    rng = np.random.default_rng(4)
    frame = pl.DataFrame({"height": rng.uniform(0, 100, 300)})
    target = (frame["height"].to_numpy() > 50.0).astype(float)
    (one,) = permutation_importance(compile_batch(a_form()), frame, target, columns=["height"], rng=rng)
    right, wrong = np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))
    assert one.increase == pytest.approx((wrong - right) / 2.0, abs=0.08)


def test_the_same_seed_gives_the_same_answer():
    frame = normals(np.random.default_rng(1), 100, 2)
    target = frame["c0"].to_numpy()
    predictor = compile_batch(a_line(1.0, 0.5))
    first, second = (
        permutation_importance(predictor, frame, target, columns=["c0", "c1"], rng=np.random.default_rng(9))
        for _ in range(2)
    )
    assert first == second
