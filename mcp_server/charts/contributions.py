"""What moved one answer, as steps from the usual answer to it; what matters overall, as bars with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

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
from mcp_server.errors import InvalidInput

MOST = 14
_UP, _DOWN, _PLAIN = "series-1", "series-2", "muted"
_LONGEST = 34


@dataclass(frozen=True, slots=True)
class Contribution:
    """One column's contribution to an answer.

    Args:
        label: the column, with its value.
        value: how far it moved the output, in the output's unit.
    """

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Bar:
    """How much one column matters.

    Args:
        label: the column.
        value, low, high: with its interval; None where there is none.
    """

    label: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a drawing: a bar between two values, or a point where they're equal, and an interval."""

    label: str
    figure: str
    start: float
    end: float
    tone: str
    reach: tuple[float, float] | None = None


def waterfall(
    parts: Sequence[Contribution],
    *,
    rest: float,
    base: float,
    output: float,
    title: str,
    subtitle: str,
    form: Form = "wide",
) -> Spec:
    """A specification of the steps from the usual answer, at the top, to this one.

    Args:
        parts: 0 to 14, drawn in this order.
        rest: what all further columns moved together; drawn where it isn't 0.
        base, output: where the steps begin and end: base + parts + rest = output.
        form: `wide` (about 700 CSS px) or `narrow` (about 350).
    Raises:
        InvalidInput: too many parts, or a figure that isn't finite.
    """
    _check(len(parts), [*(part.value for part in parts), rest, base, output])
    steps = [*parts, *([Contribution("all other columns", rest)] if rest else [])]
    digits = digits_for(max((abs(step.value) for step in steps), default=abs(output) or 1.0) / 50)
    rows = [_Row("usual answer", plain(base, digits), base, base, _PLAIN)]
    at = base
    for step in steps:
        tone = _UP if step.value > 0 else _DOWN
        rows.append(_Row(shorten(step.label), signed(step.value, digits), at, at + step.value, tone))
        at += step.value
    rows.append(_Row("this answer", plain(output, digits), output, output, _PLAIN))
    ends = [end for row in rows for end in (row.start, row.end)]
    return _drawn(rows, title=title, subtitle=subtitle, form=form, low=min(ends), high=max(ends), zero=None)


def bars(rows: Sequence[Bar], *, title: str, subtitle: str, form: Form = "wide") -> Spec:
    """A specification of one bar for each column from zero, with its interval.

    Args:
        rows: 1 to 14, drawn in this order.
        form: as for `waterfall`.
    Raises:
        InvalidInput: no bar, too many, or a figure that isn't finite.
    """
    figures = [figure for row in rows for figure in (row.value, row.low, row.high) if figure is not None]
    if not rows:
        raise InvalidInput("A chart of what matters takes at least one column.", hint="Leave the picture out.")
    _check(len(rows), figures)
    digits = digits_for(max(abs(figure) for figure in figures) / 100)
    drawn = [
        _Row(
            shorten(row.label),
            signed(row.value, digits),
            0.0,
            row.value,
            # What the interval can't tell from nothing is grey.
            _UP if row.low is not None and row.low > 0 else _PLAIN,
            None if row.low is None or row.high is None else (row.low, row.high),
        )
        for row in rows
    ]
    return _drawn(
        drawn, title=title, subtitle=subtitle, form=form, low=min(0.0, *figures), high=max(0.0, *figures), zero=0.0
    )


def finding(parts: Sequence[Contribution], about: str | None) -> str:
    """A title for a waterfall: what moved the answer most.

    >>> finding([Contribution("elo = 1600", 0.8), Contribution("rest = 2", -0.1)], "win")
    'elo = 1600 speaks most for win'
    """
    if not parts:
        return "No column moves this answer"
    first = shorten(parts[0].label, _LONGEST)
    if about is None:
        return f"{first} {'raises' if parts[0].value > 0 else 'lowers'} this answer most"
    return f"{first} speaks most {'for' if parts[0].value > 0 else 'against'} {shorten(about, 24)}"


def leader(rows: Sequence[Bar], telling: int, asked: int) -> str:
    """A title for bars: the column that matters most, where the intervals tell it apart from nothing.

    Args:
        rows: the first of the columns that were asked about.
        telling: how many of those have an interval above 0.

    >>> leader([Bar("elo", 0.05, 0.04, 0.06), Bar("rest", 0.0, -0.01, 0.01)], 1, 2)
    'elo matters most; 1 of 2 columns can be told from noise'
    """
    if not telling:
        return "No column can be told from noise"
    return f"{shorten(rows[0].label, _LONGEST)} matters most; {telling} of {asked} columns can be told from noise"


def _check(count: int, figures: Sequence[float]) -> None:
    if count > MOST:
        raise InvalidInput(f"A chart of contributions takes up to {MOST} columns.", hint="Put the rest together.")
    if not all(isfinite(figure) for figure in figures):
        raise InvalidInput("A chart of contributions takes finite figures only.", hint="Leave the picture out.")


def _drawn(
    rows: Sequence[_Row], *, title: str, subtitle: str, form: Form, low: float, high: float, zero: float | None
) -> Spec:
    wide = form == "wide"
    plot, step, centre, half = (340, 30, 0.5, 0.3) if wide else (300, 44, 0.7, 0.2)
    height = step * len(rows)
    span = (high - low) or max(abs(high), 1.0)
    low, high = low - span * 0.05, high + span * 0.05
    figures = max(width(row.figure, FIGURE_SIZE, 600) for row in rows)
    labels = [row.label if wide else fit(row.label, plot - figures - 14, FIGURE_SIZE, 500) for row in rows]
    total = plot + (36 + figures + max(width(label, LABEL_SIZE) for label in labels) if wide else 0.0)
    scale = {"domain": [low, high], "nice": False, "zero": False}
    layers = [
        _grid(low, high, plot, height, scale),
        *_ticks(low, high, plot, height, scale),
        *([] if zero is None else [_line(zero, height, scale)]),
        *([] if zero is not None else _joints(rows, centre, half, scale)),
        *([] if wide else [_strips(rows, plot)]),
        *_bars(rows, centre, half, scale),
        *_reaches(rows, centre, scale),
        *_labels(labels, rows, plot, wide=wide, figures=figures),
    ]
    for layer in layers:
        y = layer["encoding"].get("y", {})
        if "field" in y:
            rising = {"domain": [0, len(rows)], "reverse": True, "nice": False, "zero": False}
            y.update({"type": "quantitative", "scale": rising, "axis": None})
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "width": plot,
        "height": height,
        "layer": layers,
    }


def _x(field: str, scale: Spec) -> Spec:
    return {"field": field, "type": "quantitative", "scale": scale}


def _grid(low: float, high: float, plot: int, height: int, scale: Spec) -> Spec:
    """The lines of the axis; the mark that carries it isn't seen."""
    ticks, _ = _named_ticks(low, high, plot)
    axis = {"values": ticks, "labels": False, "title": None, "grid": True}
    return {
        "data": {"values": [{"value": low}]},
        "mark": {"type": "rule", "color": token("grid"), "opacity": 0, "aria": False},
        "encoding": {"x": {**_x("value", scale), "axis": axis}, "y": {"value": 0}, "y2": {"value": height}},
    }


def _line(value: float, height: int, scale: Spec) -> Spec:
    return {
        "data": {"values": [{"value": value}]},
        "mark": {"type": "rule", "color": token("muted"), "strokeWidth": 1.25, "aria": False},
        "encoding": {"x": _x("value", scale), "y": {"value": 0}, "y2": {"value": height}},
    }


def _ticks(low: float, high: float, plot: int, height: int, scale: Spec) -> list[Spec]:
    ticks, names = _named_ticks(low, high, plot)
    return [
        {
            "data": {"values": [{"value": tick, "text": name} for tick, name in zip(ticks, names, strict=True)]},
            "mark": {"type": "text", "color": token("muted"), "fontSize": TICK_SIZE},
            "encoding": {
                "x": _x("value", scale),
                "y": {"value": height + 14},
                "text": {"field": "text", "type": "nominal"},
            },
        }
    ]


def _named_ticks(low: float, high: float, plot: int) -> tuple[list[float], list[str]]:
    """As many round values as can be read side by side on `plot` CSS px, and their names."""
    for about in (6, 5, 4, 3, 2):
        ticks = nice_ticks(low, high, about=about)
        gap = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
        names = [plain(tick, digits_for(gap)) for tick in ticks]
        if max(width(name, TICK_SIZE) for name in names) + 10 <= gap / (high - low) * plot:
            break
    return ticks, names


def _strips(rows: Sequence[_Row], plot: int) -> Spec:
    """Surface behind the words of each row, so that no line runs through them."""
    return {
        "data": {"values": [{"at": at - 0.02, "end": at + 0.48} for at in range(len(rows))]},
        "mark": {"type": "rect", "color": token("surface"), "opacity": 1, "aria": False},
        "encoding": {"x": {"value": 0}, "x2": {"value": plot}, "y": {"field": "at"}, "y2": {"field": "end"}},
    }


def _joints(rows: Sequence[_Row], centre: float, half: float, scale: Spec) -> list[Spec]:
    """Thin lines from where one step ends to where the next begins."""
    values = []
    for at, (row, following) in enumerate(pairwise(rows)):
        start = at + centre + (half if row.start != row.end else 0.0)
        end = at + 1 + centre - (half if following.start != following.end else 0.0)
        values.append({"value": row.end, "at": start, "end": end})
    mark = {"type": "rule", "color": token("faint"), "strokeWidth": 1, "aria": False}
    return [
        {
            "data": {"values": values},
            "mark": mark,
            "encoding": {"x": _x("value", scale), "y": {"field": "at"}, "y2": {"field": "end"}},
        }
    ]


def _bars(rows: Sequence[_Row], centre: float, half: float, scale: Spec) -> list[Spec]:
    layers: list[Spec] = []
    for tone in (_UP, _DOWN, _PLAIN):
        flat = [(at, row) for at, row in enumerate(rows) if row.tone == tone]
        steps = [(at, row) for at, row in flat if row.start != row.end]
        points = [(at, row) for at, row in flat if row.start == row.end and row.reach is None]
        look = {"color": token(tone), "opacity": 1}
        if steps:
            layers.append(
                {
                    "data": {
                        "values": [
                            {
                                "value": row.start,
                                "to": row.end,
                                "at": at + centre - half,
                                "end": at + centre + half,
                                "said": f"{row.label}: {row.figure}",
                            }
                            for at, row in steps
                        ]
                    },
                    # An interval must be seen over its bar.
                    "mark": {"type": "rect", **look, **({"opacity": 0.4} if steps[0][1].reach else {})},
                    "encoding": {
                        "x": _x("value", scale),
                        "x2": {"field": "to"},
                        "y": {"field": "at"},
                        "y2": {"field": "end"},
                        "description": {"field": "said", "type": "nominal"},
                    },
                }
            )
        if points:
            said = [{"value": row.end, "at": at + centre, "said": f"{row.label}: {row.figure}"} for at, row in points]
            layers.append(
                {
                    "data": {"values": said},
                    "mark": {"type": "point", **look, "filled": True, "shape": "diamond", "size": 90},
                    "encoding": {
                        "x": _x("value", scale),
                        "y": {"field": "at"},
                        "description": {"field": "said", "type": "nominal"},
                    },
                }
            )
    return layers


def _reaches(rows: Sequence[_Row], centre: float, scale: Spec) -> list[Spec]:
    values = [
        {"low": row.reach[0], "high": row.reach[1], "at": at + centre}
        for at, row in enumerate(rows)
        if row.reach is not None
    ]
    if not values:
        return []
    return [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "color": token("text"), "strokeWidth": 1.5, "strokeCap": "round", "aria": False},
            "encoding": {"x": _x("low", scale), "x2": {"field": "high"}, "y": {"field": "at"}},
        }
    ]


def _labels(labels: Sequence[str], rows: Sequence[_Row], plot: int, *, wide: bool, figures: float) -> list[Spec]:
    at, x, align, size = (0.5, -14.0, "right", LABEL_SIZE) if wide else (0.26, 0.0, "left", FIGURE_SIZE)
    right = plot + 20 + figures if wide else float(plot)
    layers = [_texts(dict(enumerate(labels)), x, "text", align, size, 400 if wide else 500, at)]
    for tone in (_UP, _DOWN, _PLAIN):
        chosen = {place: row.figure for place, row in enumerate(rows) if row.tone == tone}
        if chosen:
            layers.append(_texts(chosen, right, tone, "right", FIGURE_SIZE, 600, at))
    return layers


def _texts(texts: dict[int, str], x: float, tone: str, align: str, size: float, weight: int, at: float) -> Spec:
    return {
        "data": {"values": [{"at": place + at, "text": text} for place, text in texts.items()]},
        "mark": {"type": "text", "color": token(tone), "align": align, "fontSize": size, "fontWeight": weight},
        "encoding": {"x": {"value": x}, "y": {"field": "at"}, "text": {"field": "text", "type": "nominal"}},
    }
