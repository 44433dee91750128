"""Contributions are Shapley values by their definition, and add up to the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.explain.brute_force import shapley
from core.predictor.forms import (
    a_form,
    a_linear_form,
    a_mixed_form,
    a_spline_blend_form,
    a_spline_form,
    an_input,
    grown,
    leaf,
    number,
    product,
    stump,
)
from mcp_server.core.explain import Explainer, background_size, calibration_effect
from mcp_server.core.explain import attribution as attributing
from mcp_server.core.explain.attribution import players_of
from mcp_server.core.predictor.batch import BatchPredictor, compile_batch
from mcp_server.core.predictor.forest import AveragedForest
from mcp_server.errors import ComputeFailed

TASKS = ("binary", "multiclass", "regression")


def vectors(rng: np.random.Generator, rows: int, width: int, *, missing: float = 0.2) -> np.ndarray:
    matrix = rng.normal(size=(rows, width)) * 40
    matrix[rng.random(matrix.shape) < missing] = np.nan
    return matrix


@pytest.mark.parametrize("linear", [False, True], ids=["trees", "linear"])
@pytest.mark.parametrize("task", TASKS)
def test_contributions_are_the_shapley_values_of_all_sets_of_columns(task, linear):
    """Calendar and one-hot columns have several encoded ones; missing values and categories are among them."""
    rng = np.random.default_rng(3)
    predictor = compile_batch(a_mixed_form(rng, task=task, linear=linear))
    matrix = vectors(rng, 11, predictor.form.width, missing=0.0 if linear else 0.3)
    if not linear:
        matrix[:, 3] = rng.integers(0, 3, size=11)  # positions of categories
        matrix[4, 3] = np.nan
    rows, background = matrix[:4], matrix[4:]
    found = Explainer(predictor, background).explain(rows)
    columns, players = players_of(predictor.form)
    assert found.columns == columns == ("home", "away", "neutral", "team", "day", "gap", "double")
    for at, row in enumerate(rows):
        wanted = shapley(predictor.score, row, background, players)
        np.testing.assert_allclose(found.values[at], wanted, atol=1e-10)


def test_a_stump_by_hand():
    """Log-odds -1 up to 50, else 1. Of the background one row in four is above: mean -0.5; a row above adds 1.5."""
    predictor = compile_batch(a_form())
    background = np.array([[10.0], [20.0], [30.0], [90.0]])
    found = Explainer(predictor, background).explain(np.array([[70.0], [5.0]]))
    assert found.base.tolist() == [-0.5]
    assert found.values[:, 0, 0].tolist() == [1.5, -0.5]


def test_two_columns_that_act_only_together_share_alike():
    form = a_form(
        inputs=[an_input("x"), an_input("y")],
        encoder=[number("x"), number("y")],
        estimator={
            "kind": "trees",
            "base": [0.0],
            "trees": [
                [
                    {"f": 0, "t": 0.5, "l": 1, "r": 2, "m": 1},
                    {"v": 0.0},
                    {"f": 1, "t": 0.5, "l": 3, "r": 4, "m": 1},
                    {"v": 0.0},
                    {"v": 6.0},
                ]
            ],
        },
    )
    found = Explainer(compile_batch(form), np.array([[0.0, 0.0]])).explain(np.array([[1.0, 1.0]]))
    assert found.values[0, :, 0].tolist() == [3.0, 3.0]


def without_products(predictor: BatchPredictor) -> np.ndarray:
    """The places of the vector that aren't products."""
    return np.flatnonzero(players_of(predictor.form)[1] >= 0)


@pytest.mark.parametrize("made", [a_spline_form, a_spline_blend_form], ids=["alone", "in a blend"])
@pytest.mark.parametrize("task", TASKS)
def test_products_are_shared_by_the_shapley_values_of_all_sets_of_columns(task, made):
    """What is mixed of a row and the background are columns; products follow from them."""
    rng = np.random.default_rng(7)
    predictor = compile_batch(made(rng, task=task))
    own = without_products(predictor)
    matrix = vectors(rng, 9, predictor.form.width, missing=0.0) / 20
    predictor.encoder.multiply(matrix)

    def score(mixed: np.ndarray) -> np.ndarray:
        full = np.zeros((len(mixed), predictor.form.width))
        full[:, own] = mixed
        predictor.encoder.multiply(full)
        return predictor.score(full)

    found = Explainer(predictor, matrix[3:]).explain(matrix[:3])
    assert found.largest_error < 1e-12
    columns, players = players_of(predictor.form)
    assert found.columns == columns
    for at, row in enumerate(matrix[:3]):
        wanted = shapley(score, row[own], matrix[3:][:, own], players[own])
        np.testing.assert_allclose(found.values[at], wanted, atol=1e-10)


def test_a_product_by_hand_is_shared_between_its_columns():
    """x * y = 6 against 0 * 0 and 2 * 4 = 8, means 1, 2 and 4: x moves it by 2 first and 4 second, y by -2 and 0."""
    form = a_linear_form(
        inputs=[an_input("x"), an_input("y")],
        encoder=[number("x", 0.0), number("y", 0.0), product(0, 1)],
        estimator={"kind": "linear", "coefficients": [[0.0, 0.0, 1.0]], "intercepts": [0.0]},
    )
    predictor = compile_batch(form)
    found = Explainer(predictor, np.array([[0.0, 0.0, 0.0], [2.0, 4.0, 8.0]])).explain(np.array([[3.0, 2.0, 6.0]]))
    assert found.base.tolist() == [4.0]
    assert found.values[0, :, 0].tolist() == [3.0, -1.0]


def test_a_linear_contribution_is_the_coefficient_times_the_distance_from_the_mean():
    found = Explainer(compile_batch(a_linear_form()), np.array([[40.0], [60.0]])).explain(np.array([[52.0]]))
    assert found.base.tolist() == [152.0]
    assert found.values[0, 0, 0] == pytest.approx(6.0)


@st.composite
def explained(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.integers(1, 6))
    outputs = draw(st.sampled_from([1, 3]))
    depth = draw(st.integers(0, 6))
    names = [f"c{at}" for at in range(width)]
    form = a_form(
        task="multiclass" if outputs == 3 else "binary",
        classes=["a", "b", "c"] if outputs == 3 else ["a", "b"],
        inputs=[an_input(name) for name in names],
        encoder=[number(name) for name in names],
        estimator={
            "kind": "trees",
            "base": rng.normal(size=outputs).tolist(),
            "trees": [grown(rng, width, depth) for _ in range(draw(st.integers(0, 6)) * outputs)],
        },
    )
    missing = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return compile_batch(form), vectors(rng, draw(st.integers(2, 12)), width, missing=missing)


@given(explained())
@settings(max_examples=60, deadline=None)
def test_contributions_and_base_sum_to_the_answer(given):
    predictor, matrix = given
    found = Explainer(predictor, matrix[1:]).explain(matrix[:1])
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), predictor.score(matrix[:1]), atol=1e-9)
    assert found.largest_error < 1e-9


@given(explained())
@settings(max_examples=40, deadline=None)
def test_a_column_that_no_branch_asks_moves_nothing(given):
    predictor, matrix = given
    asked = {node["f"] for tree in predictor.form.estimator.trees for node in tree if "f" in node}
    found = Explainer(predictor, matrix[1:]).explain(matrix[:1])
    for column in set(range(matrix.shape[1])) - asked:
        assert not found.values[:, column].any()


@given(explained(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_what_a_column_gets_does_not_depend_on_the_order_of_columns(given, chance):
    predictor, matrix = given
    order = list(range(matrix.shape[1]))
    chance.shuffle(order)
    place = {column: at for at, column in enumerate(order)}
    form = predictor.form.model_dump(by_alias=True)
    form["encoder"] = [form["encoder"][column] for column in order]
    form["estimator"]["trees"] = [
        [node | {"f": place[node["f"]]} if "f" in node else node for node in tree]
        for tree in form["estimator"]["trees"]
    ]
    turned = Explainer(compile_batch(form), matrix[1:][:, order]).explain(matrix[:1][:, order])
    usual = Explainer(predictor, matrix[1:]).explain(matrix[:1])
    np.testing.assert_allclose(turned.values, usual.values[:, order], atol=1e-10)


@given(explained())
@settings(max_examples=30, deadline=None)
def test_a_row_that_equals_the_whole_background_has_nothing_to_explain(given):
    predictor, matrix = given
    found = Explainer(predictor, np.repeat(matrix[:1], 3, axis=0)).explain(matrix[:1])
    np.testing.assert_allclose(found.values, 0.0, atol=1e-12)


@given(explained())
@settings(max_examples=30, deadline=None)
def test_doubling_the_background_changes_nothing(given):
    predictor, matrix = given
    once = Explainer(predictor, matrix[1:]).explain(matrix[:1])
    twice = Explainer(predictor, np.repeat(matrix[1:], 2, axis=0)).explain(matrix[:1])
    np.testing.assert_allclose(once.values, twice.values, atol=1e-10)


def test_a_forest_that_is_worked_on_in_parts_gives_the_same(monkeypatch):
    from mcp_server.core.explain import tree_shap

    rng = np.random.default_rng(8)
    predictor = compile_batch(a_mixed_form(rng))
    matrix = vectors(rng, 20, predictor.form.width)
    whole = Explainer(predictor, matrix[5:]).explain(matrix[:5])
    monkeypatch.setattr(tree_shap, "_CELLS", 100)
    parts = Explainer(predictor, matrix[5:]).explain(matrix[:5])
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)


def test_contributions_that_do_not_add_up_are_refused(monkeypatch):
    """The sum is held against another evaluation of the form than the one that explains it."""
    rng = np.random.default_rng(1)
    predictor = compile_batch(a_mixed_form(rng))
    matrix = vectors(rng, 12, predictor.form.width)
    explainer = Explainer(predictor, matrix[2:])
    explainer.explain(matrix[:2])
    score = predictor._score
    monkeypatch.setattr(predictor, "_score", lambda encoded: score(encoded) + 2e-6)
    with pytest.raises(ComputeFailed) as refused:
        explainer.explain(matrix[:2])
    assert refused.value.details["reason"] == "additivity"


def test_large_numbers_are_held_to_the_tolerance_as_a_share():
    form = a_linear_form(
        estimator={"kind": "linear", "coefficients": [[1e9]], "intercepts": [1e12]},
    )
    found = Explainer(compile_batch(form), np.array([[1.0], [3.0]])).explain(np.array([[123456.789]]))
    assert found.largest_error <= attributing.TOLERANCE


def test_a_larger_forest_gets_fewer_background_rows():
    small = compile_batch(a_form()).form
    assert background_size(small) == attributing.MOST_BACKGROUND
    rng = np.random.default_rng(0)
    many = a_mixed_form(rng)
    many["estimator"]["trees"] = [grown(rng, 8, 9) for _ in range(200)]
    assert attributing.LEAST_BACKGROUND <= background_size(compile_batch(many).form) < attributing.MOST_BACKGROUND


def test_calibration_is_told_as_a_factor_and_a_shift():
    rng = np.random.default_rng(0)
    assert calibration_effect(compile_batch(a_mixed_form(rng)).form) == (0.8, 0.1)
    assert calibration_effect(compile_batch(a_mixed_form(rng, task="multiclass")).form) == (1 / 1.7, 0.0)
    assert calibration_effect(compile_batch(a_linear_form()).form) == (1.0, 0.0)


def test_trees_without_a_branch_explain_nothing_and_add_up():
    form = a_form(estimator={"kind": "trees", "base": [0.5], "trees": [leaf(0.25), stump(0, 50.0, 0.0, 0.0)]})
    found = Explainer(compile_batch(form), np.array([[1.0]])).explain(np.array([[99.0]]))
    assert found.base.tolist() == [0.75]
    assert not found.values.any()


def averaged(rng: np.random.Generator, width: int, outputs: int, *, task: str) -> dict:
    """A few averaged trees, each of depth 3, with leaves that are shares or values."""
    rows = rng.dirichlet(np.ones(max(outputs, 2)), size=9)
    leaves = rng.normal(size=(9, 1)) if task == "regression" else rows[:, :1] if outputs == 1 else rows
    trees = [
        [node if "f" in node else {"v": float(rng.integers(9))} for node in grown(rng, width, 3)] for _ in range(4)
    ]
    return {"kind": "averaged", "trees": trees, "leaves": leaves.tolist(), "floor": 0.01}


def a_numeric_form(task: str, width: int, estimator: dict) -> dict:
    names = [f"c{at}" for at in range(width)]
    classes = {"binary": ["a", "b"], "multiclass": ["a", "b", "c"], "regression": None}[task]
    # The first two may be read by a linear member, which has no branch for a missing value.
    encoder = [number(name, fill=0.0 if at < 2 else None) for at, name in enumerate(names)]
    rest = {"inputs": [an_input(name) for name in names], "encoder": encoder}
    return a_form(task=task, classes=classes, estimator=estimator, **rest)


def blended(rng: np.random.Generator, task: str) -> dict:
    """Linear on the first two columns, trees on the next two, averaged trees on all from the second on."""
    outputs = 3 if task == "multiclass" else 1
    linear = {
        "kind": "linear",
        "coefficients": rng.normal(size=(outputs, 2)).tolist(),
        "intercepts": rng.normal(size=outputs).tolist(),
    }
    trees = {"kind": "trees", "base": [0.1] * outputs, "trees": [grown(rng, 2, 3) for _ in range(2 * outputs)]}
    parts = [(0.2, 0, 2, linear), (0.3, 2, 2, trees), (0.5, 1, 3, averaged(rng, 3, outputs, task=task))]
    return {
        "kind": "blend",
        "members": [
            {"weight": weight, "start": start, "width": width, "estimator": estimator}
            for weight, start, width, estimator in parts
        ],
    }


@pytest.mark.parametrize("kind", ["averaged", "blend"])
def test_of_a_regression_averaged_trees_and_blends_have_exact_values(kind):
    rng = np.random.default_rng(5)
    estimator = averaged(rng, 4, 1, task="regression") if kind == "averaged" else blended(rng, "regression")
    predictor = compile_batch(a_numeric_form("regression", 4, estimator))
    matrix = vectors(rng, 9, 4, missing=0.0)
    matrix[:, 2:] = vectors(rng, 9, 2, missing=0.3)
    found = Explainer(predictor, matrix[3:]).explain(matrix[:3])
    assert found.exact
    for at, row in enumerate(matrix[:3]):
        wanted = shapley(predictor.score, row, matrix[3:], np.arange(4))
        np.testing.assert_allclose(found.values[at], wanted, atol=1e-10)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_shares_of_averaged_trees_are_explained_exactly_and_carried_over(task):
    rng = np.random.default_rng(6)
    outputs = 3 if task == "multiclass" else 1
    estimator = averaged(rng, 4, outputs, task=task)
    predictor = compile_batch(a_numeric_form(task, 4, estimator))
    forest = AveragedForest(predictor.form.estimator, 4, task)
    matrix = vectors(rng, 8, 4)
    row, background = matrix[0], matrix[1:]
    found = Explainer(predictor, background).explain(matrix[:1])
    assert not found.exact
    carried = np.zeros((4, outputs))
    for other in background:
        way = forest.means(row[None])[0] - forest.means(other[None])[0]
        gone = predictor.score(row[None])[0] - predictor.score(other[None])[0]
        if (np.abs(way) > 1e-9).all():
            carried += shapley(forest.means, row, other[None], np.arange(4)) * (gone / way) / len(background)
    np.testing.assert_allclose(found.values[0], carried, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from(TASKS), st.sampled_from([0.0, 0.4]))
@settings(max_examples=40, deadline=None)
def test_contributions_of_a_blend_sum_to_the_answer(seed, task, missing):
    rng = np.random.default_rng(seed)
    predictor = compile_batch(a_numeric_form(task, 4, blended(rng, task)))
    matrix = vectors(rng, 8, 4, missing=0.0)
    matrix[:, 2:] = vectors(rng, 8, 2, missing=missing)
    found = Explainer(predictor, matrix[2:]).explain(matrix[:2])
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), predictor.score(matrix[:2]), atol=1e-9)
    assert found.exact == (task == "regression")


def test_a_row_that_is_its_own_background_is_moved_by_nothing():
    """The quotient of two differences of zero is the curve's slope, not a number that isn't one."""
    rng = np.random.default_rng(8)
    predictor = compile_batch(a_numeric_form("binary", 4, averaged(rng, 4, 1, task="binary")))
    row = vectors(rng, 1, 4)
    assert not Explainer(predictor, row).explain(row).values.any()


def test_what_an_explanation_of_a_blend_costs_counts_all_its_members():
    rng = np.random.default_rng(9)
    form = compile_batch(a_numeric_form("binary", 4, blended(rng, "binary"))).form
    assert background_size(form) == attributing.MOST_BACKGROUND
    assert attributing._path_columns(form) > 0
