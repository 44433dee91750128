"""The chart of paired differences says what the comparison found."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import a_forest, row, rows
from mcp_server.charts.forest import ForestRow
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput

FINITE = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-9)


@st.composite
def any_row(draw: st.DrawFn) -> ForestRow:
    low, middle, high = sorted(draw(st.tuples(FINITE, FINITE, FINITE)))
    known = draw(st.booleans())
    return ForestRow(
        label=draw(st.text(max_size=60)),
        reference=draw(FINITE),
        candidate=draw(FINITE),
        difference=middle,
        low=low if known else None,
        high=high if known else None,
        verdict=draw(st.sampled_from(["better", "worse", "no detectable difference"])),
    )


def _marks(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    points = [layer for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    return {layer["mark"]["shape"]: layer["data"]["values"] for layer in points}


def test_the_wide_form_shows_every_label_figure_and_name() -> None:
    shown = texts(render_svg(a_forest()))
    for expected in (
        "ROC AUC",
        "Worst-group recall",
        "games@1",
        "games@2",
        "Δ",
        "95 % CI",
        "+0.028",
        "−0.058",
        "[+0.018, +0.038]",
        "not known",
        "games@2 better →",
        "Ranks better, worse calibrated",
    ):
        assert expected in shown


def test_the_narrow_form_shows_every_label_and_difference() -> None:
    shown = texts(render_svg(a_forest(form="narrow")))
    assert {"ROC AUC", "Worst-group recall", "+0.028", "−0.058", "[+0.018, +0.038]"} <= set(shown)


def test_a_verdict_has_its_shape_and_its_colour() -> None:
    spec = a_forest()
    assert {shape: len(data) for shape, data in _marks(spec).items()} == {"circle": 1, "square": 1, "diamond": 2}
    painted = {layer["mark"]["shape"]: layer["mark"]["color"] for layer in spec["layer"] if "shape" in layer["mark"]}
    assert painted == {"circle": "var(--good)", "square": "var(--bad)", "diamond": "var(--muted)"}


def test_each_mark_is_described_in_words() -> None:
    said = spoken(render_svg(a_forest()))
    assert "Calibration (ECE): worse, −0.058 [−0.068, −0.048]" in said


def test_small_differences_get_the_digits_that_resolve_their_intervals() -> None:
    close = row("Log loss", difference=-0.0011, low=-0.0041, high=0.0019, verdict="no detectable difference")
    assert "[−0.0041, +0.0019]" in texts(render_svg(a_forest([close])))


def test_one_tiny_interval_does_not_rule_the_digits() -> None:
    tiny = row("Accuracy", difference=0.0, low=-1e-6, high=1e-6, verdict="no detectable difference")
    shown = texts(render_svg(a_forest([*rows(), tiny])))
    assert "+0.0280" in shown


@given(st.lists(any_row(), min_size=1, max_size=12), st.sampled_from(["wide", "narrow"]))
def test_any_comparison_makes_a_plain_specification_that_holds_its_intervals(given_rows: Any, form: Any) -> None:
    spec = a_forest(given_rows, form=form, practical=None)
    check(spec)
    low, high = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < 0 < high
    ends = [v for r in given_rows for v in (r.low, r.difference, r.high) if v is not None]
    assert low <= min(ends)
    assert max(ends) <= high


@settings(max_examples=8, deadline=None)
@given(st.lists(any_row(), min_size=1, max_size=4))
def test_any_comparison_can_be_drawn(given_rows: Any) -> None:
    assert len([text for text in texts(render_svg(a_forest(given_rows))) if "better →" in text]) == 1


def test_no_metric_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1 to 12 metrics"):
        a_forest([row()] * 13)


def test_a_figure_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        a_forest([row(high=math.inf)])


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(InvalidInput, match="known verdicts"):
        a_forest([row(verdict="equal")])  # type: ignore[arg-type]


def test_a_band_without_width_is_refused() -> None:
    with pytest.raises(InvalidInput, match="positive half width"):
        a_forest(practical=0.0)
