"""Predicted probability against observed rate, for one model or two, with the rows behind each point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees, hypot, isfinite

from mcp_server.charts.lettering import literal, nice_ticks, plain, shorten, thousands, width, wrap
from mcp_server.charts.theme import FIGURE_SIZE, SUBTITLE_SIZE, TICK_SIZE, TITLE_SIZE, Form, Spec, frame, token
from mcp_server.errors import InvalidInput

_SERIES = (("series-1", "circle", 68), ("series-2", "square", 68))
_LABEL_APART = 42
_MAX_POINTS = 50
_TITLE_X = -54
_PERCENT = [0, 0.2, 0.4, 0.6, 0.8, 1]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Rows with similar predictions, of which there is at least one.

    Args:
        predicted: their mean predicted probability, in [0, 1].
        observed: the share of them where the outcome came, in [0, 1].
        low, high: interval of `observed`, such as Wilson's, in [0, 1].
        rows: how many.
    """

    predicted: float
    observed: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True, slots=True)
class Curve:
    """One model's reliability.

    Args:
        name: of the model.
        error: its expected calibration error.
        points: from left to right; bins of equal width or of equal mass.
        counts: how many rows were predicted within each of equal parts of [0, 1]; as many parts for both models.
    """

    name: str
    error: float
    points: tuple[CurvePoint, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Lengths in CSS px, and the most characters of a name beside its curve."""

    plot: int
    height: int
    counts: int
    name: int
    ticks: tuple[float, ...]


_WIDE = _Sizes(plot=620, height=330, counts=62, name=24, ticks=(0, 0.2, 0.4, 0.6, 0.8, 1))
_NARROW = _Sizes(plot=250, height=230, counts=56, name=11, ticks=(0, 0.5, 1))


def reliability(
    curves: Sequence[Curve], *, title: str, subtitle: str, observed: str = "Observed rate", form: Form = "wide"
) -> Spec:
    """A specification of one or two reliability curves with interval bands, over the number of rows per bin.

    Args:
        curves: 1 or 2, each with 1 to 50 points in rising order.
        title: the finding, as a sentence.
        subtitle: how it was measured.
        observed: what the vertical axis shows.
        form: `wide` for a chat or a page (about 800 CSS px), `narrow` for a telephone or a side panel (about 390).
    Raises:
        InvalidInput: no curve, too many curves or points, counts over unlike parts, or a figure that isn't finite.
    """
    if not 1 <= len(curves) <= len(_SERIES):
        raise InvalidInput("A reliability chart takes one or two models.", hint="Compare the models in pairs.")
    if not all(1 <= len(curve.points) <= _MAX_POINTS for curve in curves):
        raise InvalidInput(f"A reliability curve takes 1 to {_MAX_POINTS} points.", hint="Leave out empty bins.")
    if not all(1 <= len(curve.counts) <= _MAX_POINTS for curve in curves) or len({len(c.counts) for c in curves}) > 1:
        raise InvalidInput("Both models need row counts over the same parts.", hint="Count in equal parts of [0, 1].")
    figures = [v for c in curves for p in c.points for v in (p.predicted, p.observed, p.low, p.high, c.error)]
    if not all(map(isfinite, figures)):
        raise InvalidInput("A reliability curve takes finite figures only.", hint="Leave out empty bins.")
    sizes = _WIDE if form == "wide" else _NARROW
    beside = 10 + max(width(shorten(c.name, sizes.name), FIGURE_SIZE, 600) for c in curves)
    total = 52 + sizes.plot + max(beside, 64)
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "spacing": 14,
        "vconcat": [
            {
                "width": sizes.plot,
                "height": sizes.height,
                "layer": [
                    *_diagonal(curves, sizes, shorten(observed)),
                    *(layer for i, curve in enumerate(curves) for layer in _curve(curve, i, shorten(observed))),
                    *_names(curves, sizes),
                ],
            },
            {"width": sizes.plot, "height": sizes.counts, "layer": _counts(curves, sizes)},
        ],
    }


def _across(field: str, axis: Spec | None = None) -> Spec:
    scale = {"domain": [0, 1], "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, "title": "Predicted probability"}


def _up(field: str, title: str) -> Spec:
    axis = {"values": _PERCENT, "format": ".0%", "grid": True, "domainWidth": 0, "titleX": _TITLE_X}
    scale = {"domain": [0, 1], "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, "title": literal(title)}


def _diagonal(curves: Sequence[Curve], sizes: _Sizes, observed: str) -> list[Spec]:
    """The line on which predictions come true exactly, named where the curves leave room."""
    x, y = _room_beside_diagonal(curves, sizes)
    line: Spec = {
        "data": {"values": [{"x": 0, "y": 0, "x2": 1, "y2": 1}]},
        "mark": {"type": "rule", "color": token("faint"), "strokeDash": [5, 4], "strokeWidth": 1, "aria": False},
        "encoding": {"x": _across("x"), "x2": {"field": "x2"}, "y": _up("y", observed), "y2": {"field": "y2"}},
    }
    name: Spec = {
        "data": {"values": [{"x": x, "y": y, "text": "perfect"}]},
        "mark": {
            "type": "text",
            "color": token("muted"),
            "fontSize": TICK_SIZE,
            "angle": -degrees(atan2(sizes.height, sizes.plot)),
        },
        "encoding": {"x": _across("x"), "y": _up("y", observed), "text": {"field": "text", "type": "nominal"}},
    }
    return [line, name]


def _room_beside_diagonal(curves: Sequence[Curve], sizes: _Sizes) -> tuple[float, float]:
    """The place beside the diagonal, in units of the axes, whose label would be furthest from every curve."""
    length = hypot(sizes.plot, sizes.height)
    along = (sizes.plot / length, sizes.height / length)
    line = [(x * sizes.plot, y * sizes.height) for curve in curves for x, y in _traced(curve)]

    def clearance(spot: tuple[float, float]) -> float:
        ends = [(spot[0] + s * along[0], spot[1] + s * along[1]) for s in (-22, -11, 0, 11, 22)]
        return min(hypot(x - a, y - b) for x, y in ends for a, b in line)

    spots = [
        (t * sizes.plot - side * along[1] * 11, t * sizes.height + side * along[0] * 11)
        for side in (1, -1)
        for t in (0.08, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    ]
    x, y = max(spots, key=clearance)
    return x / sizes.plot, y / sizes.height


def _traced(curve: Curve) -> list[tuple[float, float]]:
    """Points along the line through the bins, close enough together to measure distances by."""
    ends = [(b.predicted, b.observed) for b in curve.points]
    steps = [i / 10 for i in range(10)]
    between = [(a + (c - a) * s, b + (d - b) * s) for (a, b), (c, d) in itertools.pairwise(ends) for s in steps]
    return [*between, ends[-1]]


def _curve(curve: Curve, index: int, observed: str) -> list[Spec]:
    tone, shape, size = _SERIES[index]
    data = [
        {"x": b.predicted, "y": b.observed, "low": b.low, "high": b.high, "said": _said(curve, b)} for b in curve.points
    ]
    x, y = _across("x"), _up("y", observed)
    look = {"color": token(tone), "opacity": 1}
    band: Spec = {
        "data": {"values": data},
        "mark": {"type": "area", "color": token(tone), "opacity": 0.16, "aria": False},
        "encoding": {"x": x, "y": _up("low", observed), "y2": {"field": "high"}},
    }
    line: Spec = {
        "data": {"values": data},
        "mark": {"type": "line", **look, "strokeWidth": 2, "strokeJoin": "round", "aria": False},
        "encoding": {"x": x, "y": y},
    }
    points: Spec = {
        "data": {"values": data},
        "mark": {
            "type": "point",
            **look,
            "filled": True,
            "shape": shape,
            "size": size,
            "stroke": token("surface"),
            "strokeWidth": 1.5,
        },
        "encoding": {"x": x, "y": y, "description": {"field": "said", "type": "nominal"}},
    }
    return [band, line, points]


def _names(curves: Sequence[Curve], sizes: _Sizes) -> list[Spec]:
    """Name and error beside the end of each curve, moved apart where they would touch."""
    order = sorted(range(len(curves)), key=lambda i: -curves[i].points[-1].observed)
    places: dict[int, float] = {}
    lowest = 0.0
    for rank, i in enumerate(order):
        highest = sizes.height - _LABEL_APART * (len(order) - rank) + 10
        places[i] = max(lowest, min(highest, (1 - curves[i].points[-1].observed) * sizes.height))
        lowest = places[i] + _LABEL_APART
    layers: list[Spec] = []
    for i, curve in enumerate(curves):
        lines = (
            (shorten(curve.name, sizes.name), _SERIES[i][0], 600, 0),
            (f"ECE {plain(curve.error, 3)}", "muted", 400, 16),
        )
        for text, colour, weight, below in lines:
            layers.append(
                {
                    "data": {"values": [{"text": text}]},
                    "mark": {"type": "text", "align": "left", "color": token(colour), "fontWeight": weight},
                    "encoding": {
                        "x": {"value": sizes.plot + 6},
                        "y": {"value": places[i] + below},
                        "text": {"field": "text", "type": "nominal"},
                    },
                }
            )
    return layers


def _counts(curves: Sequence[Curve], sizes: _Sizes) -> list[Spec]:
    """Bars of rows by predicted probability; with two curves each takes its half of a part."""
    most = max(1, *(count for curve in curves for count in curve.counts))
    ticks = [t for t in nice_ticks(0, most, about=2) if t == int(t)]
    x = _across("x", {"values": list(sizes.ticks), "format": ".0%", "grid": False})
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": "Rows",
        "scale": {"domain": [0, most * 1.02], "nice": False},
        "axis": {"values": ticks, "labels": False, "grid": True, "domainWidth": 0, "titleX": _TITLE_X},
    }
    layers: list[Spec] = [
        {
            "data": {"values": _bars(curve, i, len(curves))},
            "mark": {"type": "rect", "color": token(_SERIES[i][0]), "opacity": 0.85},
            "encoding": {
                "x": x,
                "x2": {"field": "x2"},
                "y": y,
                "y2": {"field": "y2"},
                "description": {"field": "said", "type": "nominal"},
            },
        }
        for i, curve in enumerate(curves)
    ]
    labels: Spec = {
        "data": {"values": [{"y": t, "text": thousands(t)} for t in ticks]},
        "mark": {"type": "text", "align": "right", "color": token("muted"), "fontSize": TICK_SIZE},
        "encoding": {"x": {"value": -8}, "y": y, "text": {"field": "text", "type": "nominal"}},
    }
    return [*layers, labels]


def _bars(curve: Curve, index: int, of: int) -> list[dict[str, float | str]]:
    part = 1 / len(curve.counts)
    share = part * 0.78 / of
    bars: list[dict[str, float | str]] = []
    for i, count in enumerate(curve.counts):
        left = part * (i + 0.5) + share * (index - of / 2)
        said = f"{shorten(curve.name)}: {count} rows from {part * i:.0%} to {part * (i + 1):.0%}"
        bars.append({"x": left + share * 0.04, "x2": left + share * 0.96, "y": count, "y2": 0, "said": said})
    return bars


def _said(curve: Curve, b: CurvePoint) -> str:
    observed = f"{b.observed:.0%} ({b.low:.0%} to {b.high:.0%})"
    return f"{shorten(curve.name)}: predicted {b.predicted:.0%}, observed {observed}, {b.rows} rows"
