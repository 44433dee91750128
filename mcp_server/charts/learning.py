"""The validation losses of several runs, by the iterations that were made or by the rows that were learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Literal

from mcp_server.charts.history import TITLE_X, axes
from mcp_server.charts.lettering import shorten, width, wrap
from mcp_server.charts.theme import FIGURE_SIZE, SUBTITLE_SIZE, TITLE_SIZE, Form, Spec, dots, frame, line
from mcp_server.charts.trend import apart, beside
from mcp_server.errors import InvalidInput

MOST_CURVES = 8
MOST_POINTS = 500

Axis = Literal["rows", "iterations"]
_TITLES: dict[Axis, str] = {"rows": "Rows learned from", "iterations": "Iterations of boosting"}
_TONES = ("series-1", "series-2", "faint")
_DOTTED = 12
"""Points up to which each has a dot."""


@dataclass(frozen=True, slots=True)
class LossCurve:
    """One run's losses on rows that it didn't learn from.

    Args:
        name: of the run.
        across: what the steps count.
        steps: whole numbers >= 0, rising, two at least.
        losses: after each.
    """

    name: str
    across: Axis
    steps: tuple[int, ...]
    losses: tuple[float, ...]


def learning(curves: Sequence[LossCurve], *, title: str, subtitle: str, metric: str, form: Form = "wide") -> Spec:
    """A specification of one line for each run, named at its end; the two that reach the lowest loss in colour.

    Curves by rows and by iterations have a plot each, with the same losses on their axes.

    Args:
        curves: 1 to 8, each with 2 to 500 points.
        title: the finding, as a sentence.
        subtitle: what the losses are of.
        metric: what the vertical axis shows; less is better.
        form: `wide` (about 750 CSS px) or `narrow` (about 350).
    Raises:
        InvalidInput: no curve, too many curves or points, steps that don't rise, or a loss that isn't finite.
    """
    if not 1 <= len(curves) <= MOST_CURVES or not all(map(_drawable, curves)):
        raise InvalidInput(
            f"A picture takes 1 to {MOST_CURVES} learning curves of 2 to {MOST_POINTS} finite losses at rising steps.",
            hint="Name runs that have one.",
        )
    plot = 530 if form == "wide" else 190
    ranked = sorted(curves, key=lambda curve: min(curve.losses))
    parts = [(kind, [one for one in ranked if one.across == kind]) for kind in _TITLES]
    drawn = [(kind, among) for kind, among in parts if among]
    height = (320 if form == "wide" else 220) if len(drawn) == 1 else 190
    losses = [loss for curve in curves for loss in curve.losses]
    spread = (max(losses) - min(losses)) or abs(losses[0]) / 10 or 1.0
    levels = (min(losses) - spread * 0.06, max(losses) + spread * 0.06)
    tones = {id(curve): _TONES[min(place, 2)] for place, curve in enumerate(ranked)}
    names = {id(curve): shorten(curve.name, 26 if form == "wide" else 14) for curve in ranked}
    room = max(width(name, FIGURE_SIZE, 600) for name in names.values()) + 16
    total = plot - TITLE_X + room
    plots = []
    for kind, among in drawn:
        last = max(curve.steps[-1] for curve in among)
        ends = (min(curve.steps[0] for curve in among), last)
        x, y = axes(ends, levels, across=_TITLES[kind], up=metric, height=height, form=form)
        heights = [(curve.losses[-1] - levels[0]) / (levels[1] - levels[0]) * height for curve in among]
        places = apart(heights, height)
        layers: list[Spec] = []
        # What is in front is drawn last.
        for curve, place in reversed(list(zip(among, places, strict=True))):
            front = curve is ranked[0]
            layers += _line(curve, names[id(curve)], tones[id(curve)], x, y, front=front)
            layers.append(beside(names[id(curve)], tones[id(curve)], plot, height - place, bold=front))
        plots.append({"width": plot, "height": height, "layer": layers})
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "spacing": 22,
        "vconcat": plots,
    }


def _drawable(curve: LossCurve) -> bool:
    steps = curve.steps
    return (
        2 <= len(steps) <= MOST_POINTS
        and len(steps) == len(curve.losses)
        and steps[0] >= 0
        and all(before < after for before, after in pairwise(steps))
        and all(map(isfinite, curve.losses))
    )


def _line(curve: LossCurve, name: str, tone: str, x: Spec, y: Spec, *, front: bool) -> list[Spec]:
    unit = "rows" if curve.across == "rows" else "iterations"
    points = [
        {"run": step, "value": loss, "said": f"{name}: {loss:.4g} after {step:,} {unit}"}
        for step, loss in zip(curve.steps, curve.losses, strict=True)
    ]
    shown = points if len(points) <= _DOTTED else points[-1:]
    return [line(points, tone, x, y, front=front), dots(shown, tone, x, y, size=56 if front else 30)]
