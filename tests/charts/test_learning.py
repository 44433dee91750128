"""The learning curves of several runs: every point is drawn and said, and the lowest is in front."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import a_learning
from mcp_server.charts.learning import MOST_CURVES, LossCurve
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput

CURVES = st.lists(
    st.tuples(
        st.sampled_from(["rows", "iterations"]),
        st.dictionaries(st.integers(0, 10**6), st.floats(-1e6, 1e6), min_size=2, max_size=15),
    ),
    min_size=1,
    max_size=MOST_CURVES,
)


def lines(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for plot in spec["vconcat"] for one in plot["layer"] if one["mark"]["type"] == "line"]


def test_curves_by_rows_and_by_iterations_have_a_plot_each_with_one_scale_of_losses() -> None:
    spec = a_learning()
    drawn = render_svg(spec)
    assert {"Rows learned from", "Iterations of boosting", "1 games, boosting", "2 games, tuned linear"} <= set(
        texts(drawn)
    )
    assert "2 games, tuned linear: 0.6 after 1,600 rows" in spoken(drawn)
    levels = [one["encoding"]["y"]["scale"]["domain"] for one in lines(spec)]
    assert levels[0] == levels[-1]
    by_rows = a_learning([LossCurve("a", "rows", (40, 80), (0.7, 0.6))])
    assert len(by_rows["vconcat"]) == 1
    assert "Iterations of boosting" not in texts(render_svg(by_rows))


@given(CURVES)
def test_no_curve_or_point_is_lost_and_the_lowest_is_in_front(given_curves: list[Any]) -> None:
    curves = [
        LossCurve(str(at), across, tuple(sorted(points)), tuple(points[step] for step in sorted(points)))
        for at, (across, points) in enumerate(given_curves)
    ]
    spec = a_learning(curves)
    check(spec)
    drawn = lines(spec)
    points = sorted((row["run"], row["value"]) for line in drawn for row in line["data"]["values"])
    assert points == sorted(pair for curve in curves for pair in zip(curve.steps, curve.losses, strict=True))
    (front,) = [line for line in drawn if line["mark"]["color"] == "var(--series-1)"]
    assert min(row["value"] for row in front["data"]["values"]) == min(loss for _, loss in points)


@pytest.mark.parametrize(
    "curves",
    [
        [LossCurve("a", "rows", (40, 80), (0.7, float("nan")))],
        [LossCurve("a", "rows", (80, 40), (0.7, 0.6))],
        [LossCurve("a", "rows", (40,), (0.7,))],
        [LossCurve("a", "rows", (40, 80), (0.7,))],
        [LossCurve("a", "rows", (40, 80), (0.7, 0.6))] * (MOST_CURVES + 1),
    ],
    ids=["not finite", "falling", "one point", "a loss is missing", "too many"],
)
def test_what_is_no_learning_curve_is_refused(curves: list[LossCurve]) -> None:
    with pytest.raises(InvalidInput, match="1 to 8 learning curves"):
        a_learning(curves)
