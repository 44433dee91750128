"""Paired differences between two models, one row a metric: interval, verdict by shape and colour, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

from mcp_server.charts.lettering import digits_for, fit, nice_ticks, plain, shorten, signed, width, wrap
from mcp_server.charts.theme import (
    FIGURE_SIZE,
    LABEL_SIZE,
    SUBTITLE_SIZE,
    TICK_SIZE,
    TITLE_SIZE,
    Form,
    Spec,
    frame,
    token,
)
from mcp_server.core.comparison import Verdict
from mcp_server.errors import InvalidInput

_LOOKS: dict[Verdict, tuple[str, str, int]] = {
    "better": ("good", "circle", 110),
    "worse": ("bad", "square", 100),
    "no detectable difference": ("muted", "diamond", 96),
}
_MAX_ROWS = 12
_WIDE, _NARROW = 330, 310
_GAP = 28
_FIGURES_AT = 0.3


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One metric of two models on the same rows.

    Args:
        label: the metric, for a person.
        reference, candidate: the metric of each, in its own direction and unit.
        difference: how much better the candidate is: the sign is turned where lower is better.
        low, high: the interval of `difference`, low <= difference <= high; None where there is none.
        verdict: what the interval supports.
    """

    label: str
    reference: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


def forest(
    rows: Sequence[ForestRow],
    *,
    title: str,
    subtitle: str,
    reference: str,
    candidate: str,
    practical: float | None = None,
    level: float = 0.95,
    form: Form = "wide",
) -> Spec:
    """A specification of the differences as intervals around zero, with the figures beside them.

    Args:
        rows: 1 to 12, drawn in this order from the top; they share one axis, so one unit.
        title: the finding, as a sentence.
        subtitle: how it was measured.
        reference, candidate: names of the two models.
        practical: half the width of the band of differences too small to matter, > 0, in the unit of the differences.
        level: coverage of the intervals, for the header.
        form: `wide` for a chat or a page (about 800 CSS px), `narrow` for a telephone or a side panel (about 350).
    Raises:
        InvalidInput: no rows, too many, an unknown verdict, or a figure that isn't finite.
    """
    if not 1 <= len(rows) <= _MAX_ROWS:
        raise InvalidInput(
            f"A chart of differences takes 1 to {_MAX_ROWS} metrics.", hint="Choose the metrics that decide."
        )
    if not all(isfinite(v) for r in rows for v in (r.reference, r.candidate, *_reach(r))):
        raise InvalidInput(
            "A chart of differences takes finite figures only.", hint="Leave out metrics without a value."
        )
    if not all(r.verdict in _LOOKS for r in rows):
        raise InvalidInput("A chart of differences takes known verdicts only.", hint=f"Use {', '.join(_LOOKS)}.")
    if practical is not None and not 0 < practical < inf:
        raise InvalidInput("The band of no practical change has a positive half width.", hint="Leave it out.")
    drawing = _Drawing(
        rows=tuple(rows),
        names=(shorten(reference), shorten(candidate)),
        practical=practical,
        level=level,
        digits=_digits(rows),
        plot=_WIDE if form == "wide" else _NARROW,
        step=38 if form == "wide" else 50,
        centre=0.5 if form == "wide" else 0.72,
    )
    layers, total = _table_beside(drawing) if form == "wide" else _figures_above(drawing)
    scale = {"domain": [0, len(rows)], "reverse": True, "nice": False, "zero": False}
    for layer in layers:
        y = layer["encoding"]["y"]
        if "field" in y:
            y.update({"type": "quantitative", "scale": scale, "axis": None})
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "width": drawing.plot,
        "height": drawing.height,
        "layer": layers,
    }


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What both forms share. Lengths are CSS px; `centre` is where in its row an interval lies (0 top, 1 bottom)."""

    rows: tuple[ForestRow, ...]
    names: tuple[str, str]
    practical: float | None
    level: float
    digits: int
    plot: int
    step: int
    centre: float

    @property
    def height(self) -> int:
        return self.step * len(self.rows)

    @property
    def intervals(self) -> list[str]:
        return [_interval(r, self.digits) for r in self.rows]

    @property
    def deltas(self) -> list[str]:
        return [signed(r.difference, self.digits) for r in self.rows]


def _table_beside(drawing: _Drawing) -> tuple[list[Spec], float]:
    """Layers with labels left and a table right, and the width of it all."""
    rows, digits = drawing.rows, drawing.digits
    labels = [shorten(r.label) for r in rows]
    layers = [*_ground(drawing), *_marks(drawing), _texts(labels, -14, "text", "right", LABEL_SIZE, 400, at=0.5)]
    columns = (
        (shorten(drawing.names[0], 18), [plain(r.reference, digits) for r in rows], "muted", 400),
        (shorten(drawing.names[1], 18), [plain(r.candidate, digits) for r in rows], "text", 400),
        ("Δ", drawing.deltas, None, 600),
        (f"{drawing.level * 100:g} % CI", drawing.intervals, "muted", 400),
    )
    right: float = drawing.plot + 8
    for header, cells, colour, weight in columns:
        right += _GAP + max(width(header, FIGURE_SIZE, 500), *(width(cell, FIGURE_SIZE, weight) for cell in cells))
        layers.append(_texts([header], right, "muted", "right", FIGURE_SIZE, 500, at=-0.38))
        if colour:
            layers.append(_texts(cells, right, colour, "right", FIGURE_SIZE, weight, at=0.5))
        else:
            layers.extend(_verdicts(drawing, right, at=0.5))
    return layers, right + 14 + max(width(label, LABEL_SIZE) for label in labels)


def _figures_above(drawing: _Drawing) -> tuple[list[Spec], float]:
    """Layers with each row's label and figures above its interval, and the width of it all."""
    cells = drawing.intervals
    left = drawing.plot - max(width(cell, TICK_SIZE) for cell in cells) - 10
    room = left - 12 - max(width(delta, FIGURE_SIZE, 600) for delta in drawing.deltas)
    labels = [fit(r.label, room, FIGURE_SIZE, 500) for r in drawing.rows]
    layers = [
        *_ground(drawing),
        _strips(drawing),
        *_marks(drawing),
        *_verdicts(drawing, left, at=_FIGURES_AT),
        _texts(labels, 0, "text", "left", FIGURE_SIZE, 500, at=_FIGURES_AT),
        _texts(cells, drawing.plot, "muted", "right", TICK_SIZE, 400, at=_FIGURES_AT),
    ]
    return layers, drawing.plot


def _ground(drawing: _Drawing) -> list[Spec]:
    """Grid, band, zero line, tick labels and the direction that is better."""
    edge = drawing.practical or 0.0
    low, high = _span(drawing.rows, edge)
    ticks, names = _ticks(low, high, drawing.plot)
    axis = {"values": ticks, "labels": False, "title": None, "grid": True}
    x = {"field": "value", "type": "quantitative", "scale": {"domain": [low, high], "nice": False, "zero": False}}
    whole_height = {"y": {"value": 0}, "y2": {"value": drawing.height}}
    written = {"field": "text", "type": "nominal"}
    band: Spec = {
        "data": {"values": [{"value": -edge, "high": edge}]},
        "mark": {"type": "rect", "color": token("band"), "opacity": 1, "aria": False},
        "encoding": {"x": {**x, "axis": axis}, "x2": {"field": "high"}, **whole_height},
    }
    zero: Spec = {
        "data": {"values": [{"value": 0}]},
        "mark": {"type": "rule", "color": token("muted"), "strokeWidth": 1.25, "aria": False},
        "encoding": {"x": x, **whole_height},
    }
    labels: Spec = {
        "data": {"values": [{"value": t, "text": name} for t, name in zip(ticks, names, strict=True)]},
        "mark": {"type": "text", "color": token("muted"), "fontSize": TICK_SIZE},
        "encoding": {"x": x, "y": {"value": drawing.height + 14}, "text": written},
    }
    caption: Spec = {
        "data": {"values": [{"text": f"{shorten(drawing.names[1], 24)} better →"}]},
        "mark": {"type": "text", "color": token("muted"), "fontWeight": 500, "align": "right"},
        "encoding": {"x": {"value": drawing.plot}, "y": {"value": drawing.height + 35}, "text": written},
    }
    return [band, zero, labels, caption]


def _marks(drawing: _Drawing) -> list[Spec]:
    """For each verdict that occurs, a layer of intervals and one of marks over them."""
    layers: list[Spec] = []
    for verdict, (tone, shape, size) in _LOOKS.items():
        data = [
            {"at": i + drawing.centre, "low": low, "high": high, "value": r.difference, "said": _said(r)}
            for i, r in enumerate(drawing.rows)
            if r.verdict == verdict
            for low, _, high in [_reach(r)]
        ]
        if not data:
            continue
        look = {"color": token(tone), "opacity": 1}
        bar = {"type": "rule", **look, "strokeWidth": 2.25, "strokeCap": "round", "aria": False}
        mark = {"type": "point", **look, "filled": True, "shape": shape, "size": size}
        layers.append(
            {
                "data": {"values": data},
                "mark": bar,
                "encoding": {
                    "x": {"field": "low", "type": "quantitative"},
                    "x2": {"field": "high"},
                    "y": {"field": "at"},
                },
            }
        )
        layers.append(
            {
                "data": {"values": data},
                "mark": {**mark, "stroke": token("surface"), "strokeWidth": 2},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative"},
                    "y": {"field": "at"},
                    "description": {"field": "said", "type": "nominal"},
                },
            }
        )
    return layers


def _strips(drawing: _Drawing) -> Spec:
    """Surface behind the figures of each row, so that no line runs through them."""
    return {
        "data": {"values": [{"at": i - 0.02, "end": i + 0.5} for i in range(len(drawing.rows))]},
        "mark": {"type": "rect", "color": token("surface"), "opacity": 1, "aria": False},
        "encoding": {
            "x": {"value": 0},
            "x2": {"value": drawing.plot},
            "y": {"field": "at"},
            "y2": {"field": "end"},
        },
    }


def _verdicts(drawing: _Drawing, x: float, *, at: float) -> list[Spec]:
    """The differences in the colour of their verdict, right-aligned at `x`."""
    layers = []
    for verdict, (tone, _, _) in _LOOKS.items():
        chosen = {i: text for i, text in enumerate(drawing.deltas) if drawing.rows[i].verdict == verdict}
        if chosen:
            layers.append(_texts(chosen, x, tone, "right", FIGURE_SIZE, 600, at=at))
    return layers


def _texts(
    texts: Sequence[str] | dict[int, str], x: float, colour: str, align: str, size: float, weight: int, *, at: float
) -> Spec:
    """One column: a text a row, `at` where in the row."""
    placed = texts if isinstance(texts, dict) else dict(enumerate(texts))
    return {
        "data": {"values": [{"at": i + at, "text": text} for i, text in placed.items()]},
        "mark": {"type": "text", "color": token(colour), "align": align, "fontSize": size, "fontWeight": weight},
        "encoding": {"x": {"value": x}, "y": {"field": "at"}, "text": {"field": "text", "type": "nominal"}},
    }


def _ticks(low: float, high: float, plot: int) -> tuple[list[float], list[str]]:
    """As many round values as can be read side by side on `plot` CSS px, and their names."""
    for about in (6, 5, 4, 3):
        ticks = nice_ticks(low, high, about=about)
        digits = digits_for(ticks[1] - ticks[0])
        names = [signed(t, digits) if t else "0" for t in ticks]
        if max(width(name, TICK_SIZE) for name in names) + 10 <= (ticks[1] - ticks[0]) / (high - low) * plot:
            break
    return ticks, names


def _span(rows: Sequence[ForestRow], edge: float) -> tuple[float, float]:
    low, high = min(-edge, *(_reach(r)[0] for r in rows)), max(edge, *(_reach(r)[2] for r in rows))
    span = (high - low) or 1.0
    # Zero keeps at least a quarter of the span on either side: the chart is about direction.
    return min(low, -span / 4) - span * 0.06, max(high, span / 4) + span * 0.06


def _digits(rows: Sequence[ForestRow]) -> int:
    """Decimals that resolve an eighth of the narrowest interval, without one tiny interval ruling all rows."""
    widths = sorted(high - low for low, _, high in map(_reach, rows) if high > low)
    if not widths:
        return digits_for(max(abs(r.difference) for r in rows) / 10)
    return min(digits_for(widths[0] / 8), digits_for(widths[len(widths) // 2] / 8) + 1)


def _reach(row: ForestRow) -> tuple[float, float, float]:
    """Lower end, difference and upper end; all the difference where there is no interval."""
    low = row.difference if row.low is None else row.low
    high = row.difference if row.high is None else row.high
    return low, row.difference, high


def _interval(row: ForestRow, digits: int) -> str:
    if row.low is None or row.high is None:
        return "not known"
    return f"[{signed(row.low, digits)}, {signed(row.high, digits)}]"


def _said(row: ForestRow) -> str:
    low, _, high = _reach(row)
    digits = digits_for((high - low) / 20)
    return f"{shorten(row.label)}: {row.verdict}, {signed(row.difference, digits)} {_interval(row, digits)}"
