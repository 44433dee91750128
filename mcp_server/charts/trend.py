"""Counts of several rules over the validations of a data set, with the rule that matters most in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcp_server.charts.history import TITLE_X, axes
from mcp_server.charts.lettering import shorten, width, wrap
from mcp_server.charts.theme import FIGURE_SIZE, SUBTITLE_SIZE, TITLE_SIZE, Form, Spec, dots, frame, line, token
from mcp_server.errors import InvalidInput

MOST_SERIES = 6
MOST_POINTS = 2_000

_TONES = ("series-1", "series-2", "faint")
_LONGEST = 30
_LINE = 15
"""Pixels between two labels at the right edge."""


@dataclass(frozen=True, slots=True)
class Series:
    """One rule.

    Args:
        name: what it is called.
        counts: one for each validation, the oldest first, >= 0.
    """

    name: str
    counts: tuple[int, ...]


def trend(
    series: Sequence[Series],
    *,
    versions: Sequence[int],
    title: str,
    subtitle: str,
    metric: str,
    form: Form = "wide",
) -> Spec:
    """A specification of one line for each rule, named at its right end; the first two in colour.

    Args:
        series: the most important first; of more than six the first six are drawn. None where nothing was found.
        versions: of the data set, one for each validation, the oldest first, 1 to 2,000.
        title: the finding, as a sentence.
        metric: what the vertical axis shows.
        form: `wide` (about 750 CSS px) or `narrow` (about 350).
    Raises:
        InvalidInput: no validation, too many, or counts that aren't one for each.
    """
    if not 1 <= len(versions) <= MOST_POINTS or any(len(one.counts) != len(versions) for one in series):
        raise InvalidInput(f"A trend takes 1 to {MOST_POINTS} validations.", hint="Narrow the history.")
    drawn = list(series[:MOST_SERIES])
    plot, height = (560, 280) if form == "wide" else (200, 220)
    highest = max((count for one in drawn for count in one.counts), default=0)
    highest = max(highest, 4)
    last = max(len(versions), 2)
    top = highest * 1.08
    x, y = axes((1, last), (0.0, top), across=_across(versions, plot), up=metric, height=height, form=form)
    names = [shorten(one.name, _LONGEST if form == "wide" else 14) for one in drawn]
    places = apart([one.counts[-1] / top * height for one in drawn], height)
    layers: list[Spec] = []
    # What is in front is drawn last.
    for at in range(len(drawn) - 1, -1, -1):
        layers += _line(drawn[at], versions, _TONES[min(at, 2)], x, y, front=at == 0)
        layers.append(beside(names[at], _TONES[min(at, 2)], plot, height - places[at], bold=at == 0))
    if not drawn:
        points = [{"run": number, "value": 0} for number in range(1, len(versions) + 1)]
        layers.append(dots(points, "good", x, y))
    room = max((width(name, FIGURE_SIZE) for name in names), default=0) + 16
    total = plot - TITLE_X + room
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "width": plot,
        "height": height,
        "layer": layers,
    }


def finding(rules: Mapping[str, Sequence[int]], versions: Sequence[int]) -> str:
    """What the trend shows, in a sentence: the rule that changed the most with the last validation, or that none did.

    Args:
        versions: that were validated, as for `trend`: a later validation may be of an older version.

    >>> finding({"duplicates.rows": [30, 30, 4]}, [1, 2, 3])
    'duplicates.rows fell from 30 in version 2 to 4 in version 3'
    """
    if not rules:
        return "No validation found anything to warn of"
    before = {rule: counts[-2] if len(counts) > 1 else counts[-1] for rule, counts in rules.items()}
    most = max(rules, key=lambda rule: abs(rules[rule][-1] - before[rule]))
    now = rules[most][-1]
    if now != before[most]:
        moved = "rose" if now > before[most] else "fell"
        former, last = versions[-2:]
        if former == last:
            return f"{most} {moved} from {before[most]:,} to {now:,} with the last validation, of version {last} again"
        older = ", which is older and was validated last" if last < former else ""
        return f"{most} {moved} from {before[most]:,} in version {former} to {now:,} in version {last}{older}"
    if len(rules[most]) == 1:
        warns = "rule warns or fails" if len(rules) == 1 else "rules warn or fail"
        return f"At the first validation {len(rules)} {warns}"
    return "Nothing changed with the last validation"


def _across(versions: Sequence[int], plot: int) -> str:
    """What the axis of the validations is, with the version that each was of where there's room.

    >>> _across([1, 3, 1], 560)
    'Validation, of versions 1, 3, 1'
    """
    each = f"Validation, of version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"
    ends = f"Validation, first of version {versions[0]}, last of {versions[-1]}"
    return next((text for text in (each, ends) if width(text, FIGURE_SIZE) <= plot), "Validation")


def _line(one: Series, versions: Sequence[int], tone: str, x: Spec, y: Spec, *, front: bool) -> list[Spec]:
    points = [
        {"run": number, "value": count, "said": f"validation {number} of version {version}, {one.name}: {count}"}
        for number, (count, version) in enumerate(zip(one.counts, versions, strict=True), start=1)
    ]
    return [line(points, tone, x, y, front=front), dots(points, tone, x, y, size=56 if front else 30)]


def beside(name: str, tone: str, plot: int, at: float, *, bold: bool) -> Spec:
    """A name at the right edge of a plot, `at` CSS px below its top."""
    return {
        "data": {"values": [{"text": name}]},
        "mark": {
            "type": "text",
            "align": "left",
            "color": token("muted" if tone == "faint" else tone),
            "fontWeight": 600 if bold else 400,
        },
        "encoding": {
            "x": {"value": plot + 10},
            "y": {"value": round(at, 1)},
            "text": {"field": "text", "type": "nominal"},
        },
    }


def apart(heights: Sequence[float], height: float) -> list[float]:
    """Heights for labels as near to the ends of their lines as a line's distance between them allows.

    >>> apart([0.0, 0.0, 100.0], 200.0)
    [0.0, 15.0, 100.0]
    >>> apart([0.0, 190.0, 190.0], 200.0)
    [0.0, 185.0, 200.0]
    """
    placed = list(heights)
    upwards = sorted(range(len(heights)), key=lambda at: (heights[at], at))
    lowest = 0.0
    for at in upwards:
        placed[at] = max(heights[at], lowest)
        lowest = placed[at] + _LINE
    # Only those that were pushed beyond the top come down again, and what is in their way.
    highest = height
    for at in reversed(upwards):
        placed[at] = min(placed[at], highest)
        highest = placed[at] - _LINE
    return placed
