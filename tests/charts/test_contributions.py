"""The steps of a waterfall lead from the usual answer to this one; bars show what can't be told from noise in grey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import HOSTILE, a_waterfall, some_bars
from mcp_server.charts.contributions import MOST, Bar, Contribution, finding, leader
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput


def bars_of(spec: dict) -> list[dict]:
    layers = [layer for layer in spec["layer"] if layer["mark"]["type"] == "rect" and "x2" in layer["encoding"]]
    return [row for layer in layers if "field" in layer["encoding"]["x2"] for row in layer["data"]["values"]]


def test_every_step_begins_where_the_one_before_ends() -> None:
    steps = sorted(bars_of(a_waterfall()), key=lambda row: row["at"])
    assert [round(step["value"], 6) for step in steps] == [0.21, 1.03, 0.7, 0.82]
    assert [round(step["to"], 6) for step in steps] == [1.03, 0.7, 0.82, 0.86]


@given(st.lists(st.floats(-1e6, 1e6), max_size=MOST), st.floats(-1e6, 1e6))
def test_any_contributions_can_be_drawn(values: list[float], base: float) -> None:
    parts = [Contribution(f"column {at}", value) for at, value in enumerate(values)]
    check(a_waterfall(parts, base=base, rest=0.0, output=base + sum(values)))


def test_the_figures_stand_beside_the_bars() -> None:
    told = texts(render_svg(a_waterfall()))
    assert {"usual answer", "home_elo = 1612", "+0.82", "−0.33", "all other columns", "this answer", "0.86"} <= set(
        told
    )
    assert "home_elo = 1612: +0.82" in spoken(render_svg(a_waterfall()))


def test_without_further_columns_none_are_named() -> None:
    assert "all other columns" not in texts(render_svg(a_waterfall(rest=0.0)))


def test_an_answer_that_nothing_moves_can_be_drawn() -> None:
    assert "this answer" in texts(render_svg(a_waterfall([], rest=0.0, base=0.0, output=0.0)))


def test_a_column_that_cannot_be_told_from_noise_is_grey() -> None:
    layers = {layer["mark"]["color"]: layer for layer in some_bars()["layer"] if layer["mark"]["type"] == "rect"}
    assert [row["said"] for row in layers["var(--series-1)"]["data"]["values"]] == ["home_elo: +0.0610"]
    grey = [row["said"] for row in layers["var(--muted)"]["data"]["values"]]
    assert grey == ["noise: −0.0004", "rare: +0.0100"]


def test_titles_say_what_was_found() -> None:
    assert finding([Contribution("elo = 1", -0.2)], "win") == "elo = 1 speaks most against win"
    assert finding([Contribution("elo = 1", -0.2)], None) == "elo = 1 lowers this answer most"
    assert finding([], "win") == "No column moves this answer"
    assert leader([Bar("elo", 0.0, -0.1, 0.1)], 0, 1) == "No column can be told from noise"


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_a_hostile_label_stays_text(label: str, form: str) -> None:
    for spec in (
        a_waterfall([Contribution(label, 1.0)], title=label, subtitle=label, form=form),  # type: ignore[arg-type]
        some_bars([Bar(label, 1.0, 0.5, 1.5)], title=label, subtitle=label, form=form),  # type: ignore[arg-type]
    ):
        assert "<script" not in render_svg(spec)
        assert "<image" not in render_svg(spec)


def test_too_many_columns_and_figures_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInput):
        a_waterfall([Contribution(str(at), 1.0) for at in range(MOST + 1)])
    with pytest.raises(InvalidInput):
        a_waterfall(base=float("nan"))
    with pytest.raises(InvalidInput):
        some_bars([], title="none")
