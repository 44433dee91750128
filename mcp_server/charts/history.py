"""One metric of an experiment's runs in the order they ran, with the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mcp_server.charts.lettering import digits_for, fit, literal, nice_ticks, plain, shorten, width, wrap
from mcp_server.charts.theme import FIGURE_SIZE, SUBTITLE_SIZE, TITLE_SIZE, Form, Spec, frame, token
from mcp_server.errors import InvalidInput

_MAX_RUNS = 2000
TITLE_X = -58


@dataclass(frozen=True, slots=True)
class RunPoint:
    """A run and its metric.

    Args:
        number: its place in the experiment, >= 0, rising.
        value: the metric, or None where the run failed.
    """

    number: int
    value: float | None


def history(
    runs: Sequence[RunPoint],
    *,
    title: str,
    subtitle: str,
    metric: str,
    higher_is_better: bool,
    baseline: tuple[str, float] | None = None,
    form: Form = "wide",
) -> Spec:
    """A specification of the runs as points, the best so far as a stepped line, failed runs at the foot.

    Args:
        runs: 1 to 2,000 in the order of `number`, at least one with a value.
        title: the finding, as a sentence.
        subtitle: which experiment, how many runs failed.
        metric: what the vertical axis shows.
        higher_is_better: which way is up for this metric.
        baseline: name and value of what is to be beaten, drawn as a dashed line.
        form: `wide` for a chat or a page (about 750 CSS px), `narrow` for a telephone or a side panel (about 350).
    Raises:
        InvalidInput: no run has a value, too many runs, or a value isn't finite.
    """
    finished = [(r.number, r.value) for r in runs if r.value is not None]
    if not finished or len(runs) > _MAX_RUNS:
        raise InvalidInput(f"A history takes 1 to {_MAX_RUNS} runs, one at least finished.", hint="Narrow the runs.")
    levels = [value for _, value in finished] + ([baseline[1]] if baseline else [])
    if not all(map(isfinite, levels)):
        raise InvalidInput("A history takes finite values only.", hint="Give a failed run no value.")
    plot, height = (620, 310) if form == "wide" else (250, 220)
    spread = (max(levels) - min(levels)) or abs(levels[0]) / 10 or 1.0
    low, high = min(levels) - spread * 0.1, max(levels) + spread * 0.1
    first, last = runs[0].number, max(runs[-1].number, runs[0].number + 1)
    x, y = axes((first, last), (low, high), across="Run", up=metric, height=height, form=form)
    # One run alone has an axis with room beside it, but no second run.
    x["axis"]["values"] = [number for number in x["axis"]["values"] if number <= runs[-1].number]
    steps = _best_so_far(finished, higher_is_better=higher_is_better)
    layers = [
        *_line(steps, last, x, y, worst=low if higher_is_better else high),
        *_points(finished, steps, x, y),
        _best(steps[-1], (first + last) / 2, x, y, above=higher_is_better),
        *_failures([r.number for r in runs if r.value is None], x, height),
        *(_baseline(*baseline, plot, y) if baseline else []),
    ]
    beside = width(shorten(baseline[0], 16), FIGURE_SIZE) + 8 if baseline else 0
    total = plot - TITLE_X + beside
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "width": plot,
        "height": height,
        "layer": layers,
    }


def axes(
    numbers: tuple[int, int], levels: tuple[float, float], *, across: str, up: str, height: int, form: Form
) -> tuple[Spec, Spec]:
    """The axes of a history: whole numbers across, from `run`; a measure up, from `value`, with lines to read it by.

    Args:
        numbers, levels: the first and last of each.
        across, up: what they are.
        height: of the plot, CSS px.
    """
    first, last = numbers
    ticks = nice_ticks(*levels, about=5)
    x: Spec = {
        "field": "run",
        "type": "quantitative",
        "title": across,
        "scale": {"domain": [first - (last - first) * 0.02, last], "nice": False, "zero": False},
        "axis": {
            "values": [t for t in nice_ticks(first, last, about=6 if form == "wide" else 3) if t == int(t)],
            "grid": False,
            "format": "d",
        },
    }
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": literal(fit(up, height, FIGURE_SIZE, 500)),
        "scale": {"domain": list(levels), "nice": False, "zero": False},
        "axis": {
            "values": ticks,
            "format": f".{digits_for(ticks[1] - ticks[0])}f",
            "grid": True,
            "domainWidth": 0,
            "titleX": TITLE_X,
        },
    }
    return x, y


def _best_so_far(finished: Sequence[tuple[int, float]], *, higher_is_better: bool) -> list[tuple[int, float]]:
    """The runs that were better than every run before them."""
    best = [finished[0]]
    for number, value in finished[1:]:
        if (value > best[-1][1]) == higher_is_better and value != best[-1][1]:
            best.append((number, value))
    return best


def _line(steps: Sequence[tuple[int, float]], last: int, x: Spec, y: Spec, *, worst: float) -> list[Spec]:
    """The steps, with what they left behind shaded: the area between them and the `worst` edge of the axis."""
    data = [{"run": n, "value": v, "worst": worst} for n, v in [*steps, (last, steps[-1][1])]]
    shape = {"interpolate": "step-after", "color": token("series-1"), "aria": False}
    return [
        {
            "data": {"values": data},
            "mark": {"type": "area", **shape, "opacity": 0.1},
            "encoding": {"x": x, "y": y, "y2": {"field": "worst"}},
        },
        {
            "data": {"values": data},
            "mark": {"type": "line", **shape, "opacity": 1, "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
    ]


def _points(finished: Sequence[tuple[int, float]], steps: Sequence[tuple[int, float]], x: Spec, y: Spec) -> list[Spec]:
    best = set(steps)
    rest = [(n, v) for n, v in finished if (n, v) not in best]
    layers: list[Spec] = []
    for chosen, tone, size, opacity, halo in ((rest, "faint", 32, 0.75, 0), (steps, "series-1", 68, 1, 1.5)):
        data = [{"run": n, "value": v, "said": f"run {n}: {v:.4g}"} for n, v in chosen]
        mark = {"type": "point", "filled": True, "color": token(tone), "size": size, "opacity": opacity}
        said = {"description": {"field": "said", "type": "nominal"}}
        layers.append(
            {
                "data": {"values": data},
                "mark": {**mark, "stroke": token("surface"), "strokeWidth": halo},
                "encoding": {"x": x, "y": y, **said},
            }
        )
    return layers


def _best(step: tuple[int, float], middle: float, x: Spec, y: Spec, *, above: bool) -> Spec:
    number, value = step
    return {
        "data": {"values": [{"run": number, "value": value, "text": f"#{number} · {plain(value, 4)}"}]},
        "mark": {
            "type": "text",
            "align": "right" if number > middle else "left",
            "dy": -14 if above else 16,
            "color": token("series-1"),
            "fontWeight": 600,
        },
        "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
    }


def _failures(numbers: Sequence[int], x: Spec, height: int) -> list[Spec]:
    """A cross at the foot for each failed run; the word beside it while there are few."""
    data = [{"run": n, "said": f"run {n} failed", "text": "failed"} for n in numbers]
    y = {"y": {"value": height - 11}}
    crosses: Spec = {
        "data": {"values": data},
        "mark": {
            "type": "point",
            "filled": True,
            "shape": "cross",
            "angle": 45,
            "size": 60,
            "opacity": 1,
            "color": token("bad"),
        },
        "encoding": {"x": x, **y, "description": {"field": "said", "type": "nominal"}},
    }
    words: Spec = {
        "data": {"values": data},
        "mark": {"type": "text", "align": "left", "dx": 8, "color": token("bad"), "aria": False},
        "encoding": {"x": x, **y, "text": {"field": "text", "type": "nominal"}},
    }
    return [crosses, words] if 0 < len(numbers) <= 3 else [crosses] if numbers else []


def _baseline(name: str, value: float, plot: int, y: Spec) -> list[Spec]:
    data = {"values": [{"value": value, "text": shorten(name, 16)}]}
    return [
        {
            "data": data,
            "mark": {"type": "rule", "color": token("faint"), "strokeDash": [6, 4], "strokeWidth": 1.25},
            "encoding": {"y": y, "x": {"value": 0}, "x2": {"value": plot}},
        },
        {
            "data": data,
            "mark": {"type": "text", "align": "left", "color": token("muted")},
            "encoding": {"y": y, "x": {"value": plot + 6}, "text": {"field": "text", "type": "nominal"}},
        },
    ]
