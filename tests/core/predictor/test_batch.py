from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.predictor.forms import (
    a_blend_form,
    a_form,
    a_linear_form,
    a_mixed_form,
    a_spline_blend_form,
    a_spline_form,
    an_input,
    averaged,
    grown,
    number,
)
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.errors import InvalidInput

SCHEMA = {
    "home": pl.Float64,
    "away": pl.Int64,
    "neutral": pl.Boolean,
    "team": pl.String,
    "day": pl.Date,
}
ROWS = st.fixed_dictionaries(
    {
        "home": st.none() | st.floats(-600, 600) | st.sampled_from([0.0, -0.0, 5e-324, 1e9]),
        "away": st.none() | st.integers(-500, 500),
        "neutral": st.none() | st.booleans(),
        "team": st.none() | st.sampled_from(["BOS", "CHI", "LAL", "SEA", ""]),
        "day": st.none() | st.dates(date(1946, 1, 1), date(2050, 1, 1)),
    }
).filter(lambda row: any(value is not None for value in row.values()))


def a_form_of(kind: str, task: str, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made = {"blend": a_blend_form, "splines": a_spline_form, "blend with splines": a_spline_blend_form}
    if kind in made:
        return made[kind](rng, task=task)
    form = a_mixed_form(rng, task=task, linear=kind == "linear")
    return form | ({"estimator": averaged(rng, 8, task)} if kind == "averaged" else {})


@pytest.mark.parametrize("kind", ["trees", "linear", "averaged", "blend", "splines", "blend with splines"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=20), seed=st.integers(0, 2**32))
def test_a_table_is_answered_as_its_rows_are(task: str, kind: str, rows: list[dict[str, Any]], seed: int) -> None:
    form = a_form_of(kind, task, seed)
    predictor = compile_form(form)
    one_by_one = [predictor.answer(row) for row in rows]
    together = compile_batch(form).answer(pl.DataFrame(rows, schema=SCHEMA))
    for index, answer in enumerate(one_by_one):
        if answer.probabilities is None:
            assert together.values[index] == pytest.approx(answer.value, rel=1e-12, abs=1e-12)
            assert together.interval is not None
            assert answer.interval is not None
            assert together.interval[0][index] == pytest.approx(answer.interval[0], rel=1e-12, abs=1e-12)
        else:
            assert together.probabilities is not None
            shares = list(answer.probabilities.values())
            assert together.probabilities[index] == pytest.approx(shares, rel=0, abs=1e-12)
            assert form["classes"][int(together.values[index])] == answer.value
        flagged = {pair for pair, mask in together.flags.items() if mask[index]}
        assert flagged == {(flag.column, flag.kind) for flag in answer.flags}


def test_a_probability_between_two_points_is_on_the_line_and_costs_decide_what_is_said() -> None:
    points = {"kind": "isotonic", "x": [-2.0, 0.0, 2.0], "y": [0.1, 0.3, 0.9]}
    form = a_form(calibration=points)  # log-odds of -1 up to 50, 1 above
    assert compile_form(form).answer({"height": 40.0}).probabilities == pytest.approx({"no": 0.8, "yes": 0.2})
    assert compile_form(form).answer({"height": 60.0}).probabilities == pytest.approx({"no": 0.4, "yes": 0.6})
    dear = form | {"decision": {"false_positive": 1.0, "false_negative": 9.0}}
    frame = pl.DataFrame({"height": [40.0, 60.0]})
    for made, values in ((form, [0.0, 1.0]), (dear, [1.0, 1.0])):
        together = compile_batch(made).answer(frame)
        assert together.values.tolist() == values
        assert together.probabilities == pytest.approx(np.array([[0.8, 0.2], [0.4, 0.6]]))
        said = [compile_form(made).answer({"height": height}).value for height in (40.0, 60.0)]
        assert said == [made["classes"][int(value)] for value in values]
    assert compile_form(dear).answer({"height": 40.0}).probability == pytest.approx(0.2)


@pytest.mark.parametrize("depth", [0, 1, 5, 9])
def test_trees_of_any_size_are_walked_alike(depth: int) -> None:
    rng = np.random.default_rng(depth)
    trees = [grown(rng, 2, depth) for _ in range(6)]
    form = a_form(
        inputs=[an_input("height"), an_input("weight")],
        encoder=[number("height"), number("weight")],
        estimator={"kind": "trees", "base": [0.1], "trees": trees},
    )
    thresholds = [node["t"] for tree in trees for node in tree if "t" in node and node["t"] > 0]
    rows = [{"height": height, "weight": weight} for height in [*thresholds, None, 1.0] for weight in (None, 3.0, 60.0)]
    rows = [row for row in rows if any(value is not None for value in row.values())]
    predictor = compile_form(form)
    together = compile_batch(form).answer(pl.DataFrame(rows, schema={"height": pl.Float64, "weight": pl.Float64}))
    assert together.probabilities is not None
    for index, row in enumerate(rows):
        shares = predictor.answer(row).probabilities or {}
        assert together.probabilities[index, 1] == pytest.approx(shares["yes"], rel=0, abs=1e-15)


def test_flags_are_counted() -> None:
    form = a_mixed_form(np.random.default_rng(0))
    frame = pl.DataFrame(
        {
            "home": [1.0, None, 900.0],
            "away": [1, 2, 3],
            "neutral": [True] * 3,
            "team": ["BOS", "SEA", None],
            "day": [None] * 3,
        },
        schema=SCHEMA,
    )
    counts = compile_batch(form).answer(frame).counts()
    assert counts["home"]["missing"] == 1
    assert counts["home"]["out_of_range"] == 1
    assert counts["team"] == {"missing": 1, "unseen_category": 1}
    assert counts["day"] == {"missing": 3}


def test_without_listed_values_an_unseen_category_is_one_that_the_encoder_lacks() -> None:
    form = a_form(
        inputs=[an_input("team", "category")],
        encoder=[{"column": "team", "as": "ordinal", "values": ["BOS", "LAL"]}],
    )
    answers = compile_batch(form).answer(pl.DataFrame({"team": ["BOS", "SEA", None]}))
    assert answers.counts() == {"team": {"missing": 1, "unseen_category": 1}}


@pytest.mark.parametrize("linear", [False, True], ids=["trees", "linear"])
def test_values_too_large_for_a_finite_answer_are_refused(linear: bool) -> None:
    coefficients = {"kind": "linear", "coefficients": [[1e200]], "intercepts": [0.0]}
    trees = {"kind": "trees", "base": [1e308], "trees": [[{"v": 1e308}]]}
    form = a_linear_form(estimator=coefficients if linear else trees)
    frame = pl.DataFrame({"height": [1.0, 1e200]})
    with pytest.raises(InvalidInput):
        compile_batch(form).answer(frame)
    with pytest.raises(InvalidInput):
        compile_form(form).answer({"height": 1e200})


def test_a_whole_number_with_a_fraction_is_refused() -> None:
    form = a_form(inputs=[an_input("height", "integer")])
    assert compile_batch(form).answer(pl.DataFrame({"height": [3.0, None]})).values[0] == 0.0
    with pytest.raises(InvalidInput):
        compile_batch(form).answer(pl.DataFrame({"height": [3.5, None]}))


def test_a_derived_column_of_the_table_is_taken_where_it_has_a_value() -> None:
    form = a_mixed_form(np.random.default_rng(0), linear=True, task="regression")
    row = {"home": 10.0, "away": 3, "neutral": True, "team": "BOS", "day": date(2015, 3, 1)}
    frame = pl.DataFrame([row, row], schema=SCHEMA).with_columns(gap=pl.Series([None, 70.0]))
    answers = compile_batch(form).answer(frame).values
    predictor = compile_form(form)
    assert answers[0] == pytest.approx(predictor.answer(row).value)
    assert answers[1] == pytest.approx(predictor.answer(row | {"gap": 70.0}).value)


def test_a_table_without_a_needed_column_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        compile_batch(a_form()).answer(pl.DataFrame({"weight": [1.0]}))
    assert "height" in refusal.value.message


@pytest.mark.parametrize("column", [["70"], [float("inf")], [date(2015, 3, 1)]])
def test_a_column_of_another_kind_is_refused(column: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        compile_batch(a_form()).answer(pl.DataFrame({"height": column}))


def test_nan_in_a_table_counts_as_missing() -> None:
    answers = compile_batch(a_linear_form()).answer(pl.DataFrame({"height": [float("nan"), 50.0]}))
    assert answers.values[0] == answers.values[1]
    assert answers.counts() == {"height": {"missing": 1}}
