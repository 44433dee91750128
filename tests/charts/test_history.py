"""The history chart shows every run, and which was the best when it ran."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import a_history
from mcp_server.charts.history import RunPoint
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput

VALUES = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=40).filter(
    lambda values: any(v is not None for v in values)
)


def _layers(spec: dict[str, Any], kind: str, colour: str) -> list[dict[str, Any]]:
    found = [x for x in spec["layer"] if x["mark"]["type"] == kind and x["mark"]["color"] == f"var(--{colour})"]
    return [row for layer in found for row in layer["data"]["values"]]


def test_the_best_run_is_named_and_failures_are_marked() -> None:
    shown = texts(render_svg(a_history()))
    assert "#5 · 0.6600" in shown
    assert shown.count("failed") == 2
    assert "production" in shown


def test_each_run_is_described_in_words() -> None:
    assert {"run 1: 0.61", "run 4: 0.63", "run 3 failed"} <= set(spoken(render_svg(a_history())))


@given(VALUES, st.booleans())
def test_the_line_only_ever_improves_and_no_run_is_lost(values: list[float | None], higher: bool) -> None:
    spec = a_history([RunPoint(i, v) for i, v in enumerate(values)], higher_is_better=higher, baseline=None)
    check(spec)
    line = [row["value"] for row in _layers(spec, "line", "series-1")]
    assert all((after >= before) if higher else (after <= before) for before, after in pairwise(line))
    finished = [v for v in values if v is not None]
    assert line[-1] == (max(finished) if higher else min(finished))
    drawn = [*_layers(spec, "point", "series-1"), *_layers(spec, "point", "faint"), *_layers(spec, "point", "bad")]
    assert len(drawn) == len(values)


def test_a_single_run_can_be_drawn() -> None:
    assert "#7 · 0.5000" in texts(render_svg(a_history([RunPoint(7, 0.5)], baseline=None, form="narrow")))


def test_the_axis_of_a_single_run_names_no_second_one() -> None:
    shown = texts(render_svg(a_history([RunPoint(1, 0.5)], baseline=None)))
    assert "1" in shown
    assert "2" not in shown


def test_runs_that_all_failed_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one at least finished"):
        a_history([RunPoint(1, None)])


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        a_history([RunPoint(1, float("inf"))])
