from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from core.predictor.forms import a_form, a_linear_form, stump
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import expit
from mcp_server.core.training.calibrate import (
    calibrate,
    conformal_half_width,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    relative_scales,
)


def test_platts_parameters_agree_with_an_unpenalised_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=20_000) * 2
    happened = rng.random(20_000) < expit(0.7 * scores - 0.4)
    a, b = fit_platt(scores, happened)
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(scores.reshape(-1, 1), happened)
    assert a == pytest.approx(model.coef_[0, 0], rel=2e-3)
    assert b == pytest.approx(model.intercept_[0], rel=2e-3, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.floats(1e-3, 1e3), rows=st.integers(20, 400))
def test_platts_method_always_ends_in_finite_numbers(seed: int, scale: float, rows: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=rows) * scale
    happened = scores > rng.normal() * scale * 0.1  # separable: without Platt's prior there is no maximum
    if happened.all() or not happened.any():
        return
    a, b = fit_platt(scores, happened)
    assert np.isfinite([a, b]).all()
    assert a > 0


def test_the_temperature_is_found_again() -> None:
    rng = np.random.default_rng(1)
    outputs = rng.normal(size=(20_000, 4)) * 3
    powers = np.exp(outputs / 2.5)
    shares = powers / powers.sum(axis=1, keepdims=True)
    target = (shares.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(outputs, target) == pytest.approx(2.5, rel=0.03)


def test_an_interval_holds_new_values_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(300):
        half = conformal_half_width(np.abs(rng.standard_t(3, 99)), level=0.9)
        held.append((np.abs(rng.standard_t(3, 200)) <= half).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)


@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1.0)), min_size=1, max_size=40))
def test_errors_divided_by_their_scale_never_get_smaller(made: list[tuple[float, float]]) -> None:
    errors, at = (np.array(one) for one in zip(*made, strict=True))
    scales = relative_scales(errors, at, ahead=1.25)
    assert np.all(scales > 0.0)
    assert np.all(scales <= 1.0 + 1e-9)


def test_an_interval_from_errors_that_grow_holds_what_comes_next() -> None:
    rng = np.random.default_rng(3)
    held, control = [], []
    at = np.linspace(0.4, 1.0, 400)
    for _ in range(200):
        errors, later = np.abs(rng.normal(0.0, at)), np.abs(rng.normal(0.0, 1.25, 200))
        scales = relative_scales(errors, at, ahead=1.25)
        held.append((later <= conformal_half_width(errors / scales)).mean())
        control.append((later <= conformal_half_width(errors)).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)
    assert np.mean(control) < 0.75


def test_one_error_doesnt_bend_the_line_of_the_others() -> None:
    rng = np.random.default_rng(4)
    at = np.repeat([0.4, 0.55, 0.7, 0.85], 25)
    widths = []
    for outlier in (None, 20.0, 200.0):
        errors = np.abs(np.random.default_rng(5).normal(size=100))
        if outlier is not None:
            errors[rng.integers(75, 100)] = outlier
        widths.append(conformal_half_width(errors / relative_scales(errors, at, ahead=1.25)))
    assert max(widths) < 1.25 * widths[0]


def test_few_rows_are_not_calibrated_on() -> None:
    form = a_form()
    rows = pl.DataFrame({"height": np.linspace(0, 100, 199)})
    assert calibrate(form, rows, np.arange(199.0) % 2) == form


def test_one_kind_of_outcome_is_not_calibrated_on() -> None:
    form = a_form()
    rows = pl.DataFrame({"height": np.linspace(0, 100, 400)})
    assert calibrate(form, rows, np.ones(400)) == form


def test_scores_the_wrong_way_round_are_not_turned() -> None:
    form = a_form(estimator={"kind": "trees", "base": [0.0], "trees": [stump(0, 50.0, 1.0, -1.0)]})
    rng = np.random.default_rng(3)
    height = rng.uniform(0, 100, 1_000)
    target = (rng.random(1_000) < np.where(height > 50, 0.8, 0.2)).astype(float)
    assert calibrate(form, pl.DataFrame({"height": height}), target)["calibration"] == {"kind": "none"}


def test_a_form_is_calibrated_in_a_copy() -> None:
    form = a_linear_form()
    rows = pl.DataFrame({"height": np.arange(100.0)})
    target = 2.0 + 3.0 * np.arange(100.0) + np.tile([-1.0, 1.0], 50)
    made = calibrate(form, rows, target)
    assert made["interval"] == {"kind": "split_conformal", "half_width": 1.0, "level": 0.9}
    assert form["interval"] is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(20, 3_000), places=st.integers(0, 16))
def test_calibration_by_points_rises_and_is_never_sure(seed: int, rows: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=rows).round(places)
    happened = rng.random(rows) < 1 / (1 + np.exp(-scores))
    happened[:2] = True, False
    x, y = fit_isotonic(scores, happened)
    assert len(x) == len(y) <= 1_000
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert 0.0 < min(y) <= max(y) < 1.0
    made = a_form(calibration={"kind": "isotonic", "x": x, "y": y})
    assert compile_form(made).answer({"height": 60.0}).probability is not None
