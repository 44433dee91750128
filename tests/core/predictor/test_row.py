from __future__ import annotations

import subprocess
import sys
from math import exp
from typing import Any

import numpy as np
import pytest

from core.predictor.forms import a_form, a_linear_form, a_mixed_form, an_input, hinges, number, product, stump
from mcp_server.core.predictor import compile_form
from mcp_server.errors import InvalidInput


def kinds(answer: Any) -> set[tuple[str, str]]:
    return {(flag.column, flag.kind) for flag in answer.flags}


def test_a_stump_by_hand() -> None:
    answer = compile_form(a_form()).answer({"height": 70.0})
    share = 1.0 / (1.0 + exp(-1.0))
    assert answer.value == "yes"
    assert answer.probability == pytest.approx(share)
    assert answer.probabilities == {"no": pytest.approx(1.0 - share), "yes": pytest.approx(share)}
    assert answer.interval is None
    assert answer.flags == ()


@pytest.mark.parametrize(("height", "value"), [(50.0, "no"), (np.nextafter(50.0, 51.0).item(), "yes")])
def test_a_value_at_the_threshold_goes_left(height: float, value: str) -> None:
    assert compile_form(a_form()).answer({"height": height}).value == value


@pytest.mark.parametrize(("side", "value"), [(1, "no"), (0, "yes")])
def test_a_missing_value_goes_where_training_sent_it(side: int, value: str) -> None:
    trees = [stump(0, 50.0, -1.0, 1.0, missing_left=side)]
    form = a_form(
        inputs=[an_input("height"), an_input("weight")],
        encoder=[number("height"), number("weight")],
        estimator={"kind": "trees", "base": [0.0], "trees": trees},
    )
    answer = compile_form(form).answer({"weight": 10})
    assert answer.value == value
    assert kinds(answer) == {("height", "missing")}


def test_platt_moves_the_log_odds() -> None:
    answer = compile_form(a_form(calibration={"kind": "platt", "a": 2.0, "b": -0.5})).answer({"height": 70})
    assert answer.probability == pytest.approx(1.0 / (1.0 + exp(-1.5)))


def test_a_linear_value_has_its_interval_and_takes_its_fill_for_a_missing_value() -> None:
    form = a_linear_form(
        inputs=[an_input("height"), an_input("weight")],
        encoder=[number("height", 50.0), number("weight", 0.0)],
        estimator={"kind": "linear", "coefficients": [[3.0, 1.0]], "intercepts": [2.0]},
        interval={"kind": "split_conformal", "half_width": 4.0, "level": 0.9},
    )
    answer = compile_form(form).answer({"weight": 5})
    assert answer.value == 157.0
    assert answer.interval == (153.0, 161.0)
    assert answer.probability is None
    assert "takes 50 for it" in answer.flags[0].detail


def test_hinges_and_products_by_hand() -> None:
    """Of height between 0 and 100, center 50: (h - 50) / 10, its hinge at 40, and the product of the two."""
    form = a_linear_form(
        encoder=[hinges("height", 0.0, 100.0, 40.0), product(0, 1)],
        estimator={"kind": "linear", "coefficients": [[1.0, 10.0, 100.0]], "intercepts": [0.5]},
    )
    predictor = compile_form(form)
    heights = {30.0: [-2.0, 0.0, 0.0], 60.0: [1.0, 2.0, 2.0], 1e9: [5.0, 6.0, 30.0], -1e9: [-5.0, 0.0, 0.0]}
    for height, vector in heights.items():
        assert predictor.encode({"height": height}) == vector
    assert predictor.answer({"height": 60.0}).value == 0.5 + 1.0 + 20.0 + 200.0
    form["inputs"].append(an_input("width"))
    missing = compile_form(form).answer({"width": 1.0})
    assert missing.value == 0.5 + 10.0
    assert "takes 50 for it" in next(flag for flag in missing.flags if flag.column == "height").detail


def test_a_temperature_cools_three_classes() -> None:
    form = a_form(
        task="multiclass",
        classes=["a", "b", "c"],
        estimator={"kind": "trees", "base": [0.0, 2.0, 4.0], "trees": []},
        calibration={"kind": "temperature", "t": 2.0},
    )
    answer = compile_form(form).answer({"height": 1.0})
    total = 1.0 + exp(1.0) + exp(2.0)
    assert answer.value == "c"
    assert answer.probability == pytest.approx(exp(2.0) / total)
    assert sum((answer.probabilities or {}).values()) == pytest.approx(1.0)


def test_trees_of_several_classes_take_turns() -> None:
    trees = [[{"v": 1.0}], [{"v": 2.0}], [{"v": 3.0}], [{"v": 10.0}], [{"v": 20.0}], [{"v": 30.0}]]
    form = a_form(
        task="multiclass",
        classes=["a", "b", "c"],
        estimator={"kind": "trees", "base": [0.0, 0.0, 0.0], "trees": trees},
    )
    shares = compile_form(form).answer({"height": 1.0}).probabilities or {}
    assert shares["b"] / shares["a"] == pytest.approx(exp(11.0))


def test_a_derived_column_is_computed_and_may_be_given() -> None:
    form = a_linear_form(
        derived=[{"name": "gap", "expression": "home - away"}],
        inputs=[an_input("home"), an_input("away"), an_input("gap", low=-100.0)],
        encoder=[number("gap", 0.0)],
    )
    predictor = compile_form(form)
    assert predictor.required == ("home", "away")
    assert predictor.optional == ("gap",)
    assert predictor.answer({"home": 7, "away": 4}).value == 11.0
    assert predictor.answer({"gap": 5}).value == 17.0
    assert ("gap", "missing") in kinds(predictor.answer({"home": 7}))


# What is odd about a row -------------------------------------------------------------------------------------------


def test_a_value_outside_the_training_range_is_flagged_and_not_clipped() -> None:
    predictor = compile_form(a_linear_form(inputs=[an_input("height", low=60.0, high=90.0)]))
    answer = predictor.answer({"height": 300.0})
    assert answer.value == 902.0
    assert ("height", "out_of_range") in kinds(answer)
    assert "above" in answer.flags[0].detail
    assert "below" in predictor.answer({"height": 2}).flags[0].detail


@pytest.mark.parametrize(
    ("value", "factor"),
    [(190.5, "2.54"), (24.6, "3.28"), (0.75, "100"), (760.0, "10"), (75_000, "1000"), (165.3, "0.4536")],
)
def test_a_value_in_another_unit_is_suspected(value: float, factor: str) -> None:
    spec = an_input("height", low=60.0, high=92.0, p01=62.0, p99=90.0, median=75.0, unit="inches")
    flags = compile_form(a_form(inputs=[spec])).answer({"height": value}).flags
    suspected = [flag for flag in flags if flag.kind == "suspected_unit"]
    assert len(suspected) == 1
    assert f"by {factor} " in suspected[0].detail
    assert {flag.kind for flag in flags} == {"out_of_range", "suspected_unit"}


def test_a_value_that_no_unit_explains_is_only_out_of_range() -> None:
    spec = an_input("height", low=70.0, high=80.0, p01=71.0, p99=79.0, median=75.0)
    assert kinds(compile_form(a_form(inputs=[spec])).answer({"height": 130.0})) == {("height", "out_of_range")}


def test_a_count_of_zero_or_one_has_no_unit() -> None:
    spec = an_input("neutral", "integer", low=0.0, high=1.0)
    form = a_form(inputs=[spec], encoder=[number("neutral")])
    assert kinds(compile_form(form).answer({"neutral": 10})) == {("neutral", "out_of_range")}


@pytest.mark.parametrize("allowed", [["BOS", "LAL"], None])
def test_an_unseen_category_is_flagged_and_a_seen_one_not(allowed: list[str] | None) -> None:
    form = a_form(
        inputs=[an_input("team", "category", allowed=allowed)],
        encoder=[{"column": "team", "as": "ordinal", "values": ["BOS", "LAL"]}],
    )
    predictor = compile_form(form)
    assert predictor.answer({"team": "LAL"}).flags == ()
    assert kinds(predictor.answer({"team": "SEA"})) == {("team", "unseen_category")}


def test_a_long_category_is_not_repeated() -> None:
    form = a_form(inputs=[an_input("team", "category")], encoder=[{"column": "team", "as": "ordinal", "values": ["a"]}])
    flag = compile_form(form).answer({"team": "x" * 500}).flags[0]
    assert "xx" not in flag.detail
    assert "500 characters" in flag.detail


# What is refused ---------------------------------------------------------------------------------------------------


def test_an_unknown_column_is_refused_with_what_was_probably_meant() -> None:
    with pytest.raises(InvalidInput) as refusal:
        compile_form(a_form()).answer({"heigth": 3.0})
    assert "did you mean 'height'" in refusal.value.message
    assert "height" in refusal.value.hint
    assert refusal.value.details["kind"] == "unexpected_column"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "70"),
        ("number", True),
        ("number", float("nan")),
        ("number", float("inf")),
        ("number", 10**400),
        ("number", [70.0]),
        ("integer", 1.5),
        ("integer", 1e300),
        ("integer", False),
        ("boolean", 2),
        ("boolean", "true"),
        ("category", 7),
        ("date", "1 March 2015"),
        ("date", 20150301),
        ("datetime", "yesterday"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: object) -> None:
    encoding: dict[str, Any] = number("height")
    if kind == "category":
        encoding = {"column": "height", "as": "ordinal", "values": ["a"]}
    elif kind in ("date", "datetime"):
        encoding = {"column": "height", "as": "year", "fill": None}
    form = a_form(inputs=[an_input("height", kind)], encoder=[encoding])
    with pytest.raises(InvalidInput) as refusal:
        compile_form(form).answer({"height": value})
    assert "height" in refusal.value.message
    assert refusal.value.details["kind"] == "wrong_type"


@pytest.mark.parametrize("row", [{}, {"height": None}])
def test_a_row_without_any_value_is_refused(row: dict[str, None]) -> None:
    with pytest.raises(InvalidInput):
        compile_form(a_form()).answer(row)


def test_values_too_large_for_a_finite_answer_are_refused() -> None:
    form = a_linear_form(estimator={"kind": "linear", "coefficients": [[1e200]], "intercepts": [0.0]})
    with pytest.raises(InvalidInput):
        compile_form(form).answer({"height": 1e200})


def test_times_are_taken_in_utc() -> None:
    form = a_linear_form(inputs=[an_input("at", "datetime")], encoder=[{"column": "at", "as": "weekday", "fill": 0.0}])
    predictor = compile_form(form)
    sunday = predictor.answer({"at": "2015-03-01T23:30:00Z"}).value
    assert sunday == 23.0
    assert predictor.answer({"at": "2015-03-02T00:30:00+01:00"}).value == sunday


def test_the_server_side_needs_no_array_library() -> None:
    code = (
        "import sys; import mcp_server.core.predictor, mcp_server.core.verification;"
        "print([name for name in ('numpy', 'polars', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mixed_form_answers_an_ordinary_row_without_flags() -> None:
    predictor = compile_form(a_mixed_form(np.random.default_rng(0)))
    row = {"home": 3.5, "away": 2, "neutral": True, "team": "BOS", "day": "2015-03-01"}
    assert predictor.answer(row).flags == ()
