"""The reliability chart shows where predictions come true, and on how many rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import a_reliability, curve
from mcp_server.charts.reliability import Curve, CurvePoint
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput

SHARE = st.floats(0, 1)


@st.composite
def any_curve(draw: st.DrawFn) -> Curve:
    points = []
    for predicted in sorted(draw(st.lists(SHARE, min_size=1, max_size=8))):
        low, observed, high = sorted(draw(st.tuples(SHARE, SHARE, SHARE)))
        points.append(CurvePoint(predicted, observed, low, high, draw(st.integers(1, 10**6))))
    counts = tuple(draw(st.lists(st.integers(0, 10**6), min_size=10, max_size=10)))
    return Curve(draw(st.text(max_size=50)), draw(SHARE), tuple(points), counts)


def _labels(spec: dict[str, Any]) -> list[tuple[str, float]]:
    layers = [layer for layer in spec["vconcat"][0]["layer"] if layer["mark"]["type"] == "text"]
    placed = [layer for layer in layers if "value" in layer["encoding"]["y"]]
    return [(layer["data"]["values"][0]["text"], layer["encoding"]["y"]["value"]) for layer in placed]


@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_both_models_are_named_with_their_error_beside_their_curves(form: Any) -> None:
    shown = texts(render_svg(a_reliability(form=form)))
    assert {"games@1", "ECE 0.031", "games@2", "ECE 0.043", "perfect", "Observed rate", "Rows"} <= set(shown)


def test_one_model_is_drawn_alone() -> None:
    shown = texts(render_svg(a_reliability([curve()])))
    assert "games@1" in shown
    assert "games@2" not in shown


def test_each_point_and_bar_is_described_in_words() -> None:
    said = spoken(render_svg(a_reliability()))
    assert "games@1: predicted 50%, observed 50% (46% to 54%), 200 rows" in said
    assert "games@2: 2100 rows from 20% to 40%" in said


@given(any_curve(), any_curve())
def test_any_two_curves_make_a_plain_specification_with_labels_apart(first: Curve, second: Curve) -> None:
    spec = a_reliability([first, second])
    check(spec)
    heights = sorted(y for text, y in _labels(spec) if text.startswith("ECE"))
    assert len(heights) == 2
    assert heights[1] - heights[0] >= 32
    assert heights[0] >= 0
    assert heights[1] <= spec["vconcat"][0]["height"] + 16


@given(any_curve(), any_curve())
def test_bars_stay_in_their_part_and_do_not_overlap(first: Curve, second: Curve) -> None:
    bars = [layer for layer in a_reliability([first, second])["vconcat"][1]["layer"] if layer["mark"]["type"] == "rect"]
    ends = sorted((bar["x"], bar["x2"]) for layer in bars for bar in layer["data"]["values"])
    flat = [end for pair in ends for end in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] <= 1


def test_three_models_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one or two"):
        a_reliability([curve(), curve(), curve()])


def test_a_curve_without_points_is_refused() -> None:
    with pytest.raises(InvalidInput, match="points"):
        a_reliability([dataclasses.replace(curve(), points=())])


def test_counts_over_unlike_parts_are_refused() -> None:
    with pytest.raises(InvalidInput, match="same parts"):
        a_reliability([curve(), dataclasses.replace(curve(), counts=(1, 2))])


def test_a_curve_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        a_reliability([dataclasses.replace(curve(), error=float("nan"))])
