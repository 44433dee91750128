from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.predictor.forms import (
    a_form,
    a_linear_form,
    a_mixed_form,
    a_spline_blend_form,
    an_input,
    hinges,
    leaf,
    number,
    product,
    stump,
)
from mcp_server.core.predictor import compile_form
from mcp_server.errors import CorruptArtefact

THREE_CLASSES = a_mixed_form(np.random.default_rng(0), task="multiclass")


def with_trees(*trees: Any, **changes: Any) -> dict[str, Any]:
    return a_form(estimator={"kind": "trees", "base": [0.0], "trees": list(trees)}, **changes)


def branch(**changes: Any) -> list[dict[str, Any]]:
    tree = stump(0, 50.0, -1.0, 1.0)
    tree[0] |= changes
    return tree


def linear(coefficients: list[float]) -> dict[str, Any]:
    estimator = {"kind": "linear", "coefficients": [coefficients], "intercepts": [0.0]}
    return a_linear_form(estimator=estimator)


ZERO: dict[str, Any] = {"kind": "linear", "coefficients": [[0.0]], "intercepts": [0.0]}


def with_values(values: list[str], style: str = "onehot", times: int = 1) -> dict[str, Any]:
    encoder = [{"column": "team", "as": style, "values": values}] * times
    return a_form(inputs=[an_input("team", "category")], encoder=encoder)


def without(form: dict[str, Any], part: str) -> dict[str, Any]:
    del form["encoder"][0][part]
    return form


def summed(form: dict[str, Any]) -> dict[str, Any]:
    return form | {"estimator": {"kind": "linear", "coefficients": [[1.0]], "intercepts": [0.0]}}


def with_lookup(**changes: Any) -> dict[str, Any]:
    looked_up = {"values": ["a", "b"], "numbers": [1.0, 2.0], "other": 0.0, "missing": 0.0} | changes
    encoder = [{"column": "team", "as": "lookup", **looked_up}]
    return a_form(inputs=[an_input("team", "category")], encoder=encoder)


def a_hash(place: int, places: int) -> dict[str, Any]:
    return {"column": "team", "as": "hash", "place": place, "places": places}


def with_hinges(**changes: Any) -> dict[str, Any]:
    """Of `height` with one knot, and a product of its two numbers."""
    encoder = [hinges("height", 0.0, 100.0, 40.0) | changes, product(0, 1)]
    return a_linear_form(encoder=encoder, estimator=ZERO | {"coefficients": [[1.0, 2.0, 3.0]]})


def with_products(*pairs: tuple[Any, Any], before: bool = False) -> dict[str, Any]:
    encoder = [hinges("height", 0.0, 100.0, 40.0), *(product(*pair) for pair in pairs)]
    encoder = encoder[::-1] if before else encoder
    return a_linear_form(encoder=encoder, estimator=ZERO | {"coefficients": [[1.0] * (2 + len(pairs))]})


def with_a_member_on_the_products(start: int) -> dict[str, Any]:
    """Two members: of two numbers, and of their product with what is before it from `start` on."""
    form = a_linear_form(encoder=[number("height", 1.0), number("height", 2.0), product(0, 1)])
    linear = {"kind": "linear", "intercepts": [0.0]}
    members = [
        {"weight": 1.0, "start": at, "width": width, "estimator": linear | {"coefficients": [[1.0] * width]}}
        for at, width in ((0, 2), (start, 3 - start))
    ]
    return form | {"estimator": {"kind": "blend", "members": members}}


def with_derived(**expressions: str) -> dict[str, Any]:
    return a_form(derived=[{"name": name, "expression": text} for name, text in expressions.items()])


def a_chain(depth: int) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    for level in range(depth):
        nodes += [{"f": 0, "t": 0.0, "l": 2 * level + 1, "r": 2 * level + 2, "m": 0}, {"v": 0.0}]
    return [*nodes, {"v": 1.0}]


def test_a_tree_as_deep_as_allowed_compiles() -> None:
    assert compile_form(with_trees(a_chain(64))).answer({"height": 1.0}).value == "yes"


A_MEMBER = {"weight": 0.5, "start": 0, "width": 1, "estimator": {"kind": "trees", "base": [0.0], "trees": [leaf(1.0)]}}


def with_averaged(**changes: Any) -> dict[str, Any]:
    sound = {"kind": "averaged", "trees": [leaf(0.0)], "leaves": [[0.5]], "floor": 0.1}
    return a_form(estimator=sound | changes)


def with_blend(**changes: Any) -> dict[str, Any]:
    return a_form(estimator={"kind": "blend", "members": [A_MEMBER, A_MEMBER | changes]})


def test_what_is_spoilt_below_is_sound_before() -> None:
    sound = [with_averaged(), with_blend(), with_hinges(), with_products((0, 1), (1, 1)), with_hinges(knots=[])]
    sound[-1]["encoder"][1] = number("height", 1.0)
    sound[-1]["estimator"]["coefficients"] = [[1.0, 2.0]]
    for form in (*sound, with_a_member_on_the_products(0)):
        compile_form(form)


@pytest.mark.parametrize(
    ("fault", "form"),
    [
        ("a table with a number missing", with_lookup(numbers=[1.0])),
        ("a table with a value twice", with_lookup(values=["a", "a"])),
        ("a table without what another value is", without(with_lookup(), "other")),
        ("a table in a sum that has NaN for another value", summed(with_lookup(other=None))),
        ("shares of a number", a_linear_form(calibration={"kind": "unsmoothed", "floor": 0.1})),
        ("a table in a sum that has NaN for a missing one", summed(with_lookup(missing=None))),
        ("a place beyond the last", a_form(inputs=[an_input("team", "category")], encoder=[a_hash(4, 4)])),
        ("a hash of a number", a_form(encoder=[{**a_hash(0, 4), "column": "height"}])),
        ("a center beyond the ends", with_hinges(center=100.5)),
        ("ends the wrong way round", with_hinges(low=60.0)),
        ("a scale of zero", with_hinges(scale=0.0)),
        ("a scale so small that numbers overflow", with_hinges(scale=5e-324)),
        ("a span beyond all numbers", with_hinges(low=-1e308, high=1e308, center=0.0, scale=1e300, knots=[])),
        ("a knot that isn't finite", with_hinges(knots=[float("nan")])),
        ("an infinite knot", with_hinges(knots=[float("inf")])),
        ("knots that fall", with_hinges(knots=[60.0, 40.0])),
        ("a knot twice", with_hinges(knots=[40.0, 40.0])),
        ("a knot beyond the ends", with_hinges(knots=[100.0])),
        ("more knots than allowed", with_hinges(knots=[float(at) for at in range(1, 22)])),
        ("a part too many in hinges", with_hinges(degree=3)),
        ("hinges without a scale", without(with_hinges(), "scale")),
        ("hinges of a category", with_hinges() | {"inputs": [an_input("height", "category")]}),
        ("hinges of an unknown column", with_hinges(column="weight")),
        ("a product with a column", with_products((0, 1)) | {"encoder": [product(0, 0) | {"column": "height"}]}),
        ("a product of itself", with_products((0, 2))),
        ("a product of what comes later", with_products((0, 1), before=True)),
        ("a product of a product", with_products((0, 1), (0, 2))),
        ("a product with a negative place", with_products((-1, 0))),
        ("a product with half a place", with_products((0.5, 0))),
        ("a product with a place that is true", with_products((True, 0))),
        ("a product of another member's numbers", with_a_member_on_the_products(1)),
        (
            "trees on a product",
            a_form(encoder=[number("height"), product(0, 0)]),
        ),
        (
            "a product of what may be missing in a sum",
            a_linear_form(encoder=[number("height"), product(0, 0)], estimator=ZERO | {"coefficients": [[1.0, 1.0]]}),
        ),
        ("another format", a_form(format="courtside.model/2")),
        ("an unknown part", a_form(code="import os")),
        ("a missing part", {key: value for key, value in a_form().items() if key != "target"}),
        ("one class", a_form(classes=["yes"])),
        ("the same class twice", a_form(classes=["yes", "yes"])),
        ("classes of a regression", a_linear_form(classes=["a", "b"])),
        ("an interval of classes", a_form(interval={"kind": "split_conformal", "half_width": 1.0, "level": 0.9})),
        ("a temperature for two classes", a_form(calibration={"kind": "temperature", "t": 1.0})),
        (
            "a temperature of zero",
            a_mixed_form(np.random.default_rng(0), task="multiclass")
            | {"calibration": {"kind": "temperature", "t": 0.0}},
        ),
        ("an infinite calibration", a_form(calibration={"kind": "platt", "a": float("inf"), "b": 0.0})),
        ("a number as text", a_form(calibration={"kind": "platt", "a": "1", "b": 0.0})),
        ("no input", a_form(inputs=[])),
        ("an input twice", a_form(inputs=[an_input("height"), an_input("height")])),
        ("an encoder of an unknown column", a_form(encoder=[number("weight")])),
        ("a category as a number", a_form(inputs=[an_input("height", "category")])),
        ("a date of a number", a_form(encoder=[{"column": "height", "as": "year", "fill": None}])),
        ("a linear form without a fill", a_linear_form(encoder=[number("height")])),
        (
            "coefficients of another width",
            linear([1.0, 2.0]),
        ),
        (
            "an infinite coefficient",
            linear([float("nan")]),
        ),
        ("two outputs for two classes", a_form(estimator={"kind": "trees", "base": [0.0, 0.0], "trees": []})),
        ("a derived column from nothing known", with_derived(x="weight + 1")),
        (
            "derived columns in a circle",
            with_derived(x="y + 1", y="x + 1"),
        ),
        ("a derived column twice", a_form(derived=[{"name": "x", "expression": "height + 1"}] * 2)),
        ("a value twice", with_values(["a", "b", "a"])),
        ("an encoding wider than allowed", with_values([str(index) for index in range(1_000)], times=21)),
        ("a linear form of positions", with_values(["a", "b"], style="ordinal") | {"estimator": ZERO}),
        ("two rows of coefficients for two classes", a_linear_form(estimator=ZERO | {"coefficients": [[1.0]] * 2})),
        ("an expression outside the language", with_derived(x="__import__('os')")),
        ("an empty tree", with_trees([])),
        ("a tree that is no list", with_trees({"v": 1.0})),
        ("a leaf that is no number", with_trees([{"v": "1"}])),
        ("an infinite leaf", with_trees(leaf(float("inf")))),
        ("an infinite threshold", with_trees(branch(t=float("inf")))),
        ("a feature out of range", with_trees(branch(f=1))),
        ("a negative feature", with_trees(branch(f=-1))),
        ("a boolean index", with_trees(branch(f=False))),
        ("a child out of range", with_trees(branch(r=3))),
        ("a child that is its parent", with_trees(branch(l=0))),
        ("a negative child", with_trees(branch(l=-1))),
        ("one child twice", with_trees(branch(l=2))),
        ("a node without a parent", with_trees([*stump(0, 1.0, 0.0, 1.0), {"v": 1.0}])),
        ("another direction for missing values", with_trees(branch(m=2))),
        ("a part too many in a node", with_trees([*branch(x=1)])),
        ("a leaf beyond the leaves", with_averaged(trees=[leaf(1.0)])),
        ("half a leaf", with_averaged(trees=[leaf(0.5)])),
        ("no tree to average", with_averaged(trees=[])),
        ("a share above one", with_averaged(leaves=[[1.5]])),
        ("two shares for two classes", with_averaged(leaves=[[0.5, 0.5]])),
        ("a share that may be impossible", with_averaged(floor=0.0)),
        ("a member on half an encoding", with_blend(start=0, width=2)),
        ("a member beyond the vector", with_blend(start=1, width=1)),
        ("a single member", a_form(estimator={"kind": "blend", "members": [A_MEMBER]})),
        ("a weight of zero", with_blend(weight=0.0)),
        ("points out of order", a_form(calibration={"kind": "isotonic", "x": [1.0, 0.0], "y": [0.1, 0.2]})),
        ("probabilities that fall", a_form(calibration={"kind": "isotonic", "x": [0.0, 1.0], "y": [0.2, 0.1]})),
        ("more points than probabilities", a_form(calibration={"kind": "isotonic", "x": [0.0, 1.0], "y": [0.2]})),
        ("costs of a regression", a_linear_form(decision={"false_positive": 1.0, "false_negative": 1.0})),
        ("an error without a cost", a_form(decision={"false_positive": 1.0, "false_negative": 0.0})),
        ("a tree deeper than allowed", with_trees(a_chain(65))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_form_is_refused(fault: str, form: dict[str, Any]) -> None:
    with pytest.raises(CorruptArtefact) as refusal:
        compile_form(form)
    assert "malformed at" in refusal.value.message
    assert refusal.value.hint


def test_two_parents_of_one_node_are_refused() -> None:
    shared = [
        {"f": 0, "t": 0.0, "l": 1, "r": 2, "m": 0},
        {"f": 0, "t": 0.0, "l": 3, "r": 4, "m": 0},
        {"f": 0, "t": 0.0, "l": 3, "r": 4, "m": 0},
        {"v": 0.0},
        {"v": 1.0},
    ]
    with pytest.raises(CorruptArtefact):
        compile_form(with_trees(shared))


def test_a_form_survives_json() -> None:
    form = a_mixed_form(np.random.default_rng(3))
    row = {"home": 3.0, "away": 1, "neutral": False, "team": "LAL", "day": "2015-03-01"}
    again = json.loads(json.dumps(form))
    assert compile_form(again).answer(row) == compile_form(form).answer(row)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, part in value.items():
            found += places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            found += places(part, (*path, index))
    return found


FORMS = [a_mixed_form(np.random.default_rng(5)), a_spline_blend_form(np.random.default_rng(6))]
PLACES = [(at, place) for at, form in enumerate(FORMS) for place in places(form)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=250, deadline=None)
@given(which=st.sampled_from(PLACES), value=JSON)
def test_a_damaged_form_is_refused_or_still_answers(which: tuple[int, tuple[Any, ...]], value: Any) -> None:
    at, place = which
    damaged = copy.deepcopy(FORMS[at])
    part: Any = damaged
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    try:
        predictor = compile_form(damaged)
    except CorruptArtefact:
        return
    answer = predictor.answer({name: None if name != "away" else 3 for name in predictor.required} | {"away": 3})
    assert answer.probability is not None
    assert 0.0 <= answer.probability <= 1.0
