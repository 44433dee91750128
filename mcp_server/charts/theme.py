"""The colours as named tokens, light and dark, and the type and line settings every chart shares."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Literal

from mcp_server.charts.lettering import literal

Spec = dict[str, Any]
Theme = Literal["light", "dark"]
Form = Literal["wide", "narrow"]

FONT = "Courtside Inter, Inter, sans-serif"
"""The shipped subset first; a page may bring its own Inter."""
TITLE_SIZE = 17
SUBTITLE_SIZE = 13
LABEL_SIZE = 13
FIGURE_SIZE = 12
TICK_SIZE = 11.5

_LIGHT = {
    "surface": "#ffffff",
    "text": "#171b21",
    "muted": "#5a6472",
    "faint": "#838a95",
    "grid": "#eceff3",
    "axis": "#c9d0d9",
    "band": "#f0f3f8",
    "good": "#0f6b40",
    "bad": "#b42318",
    "series-1": "#1f4fc4",
    "series-2": "#c2560c",
}
_DARK = {
    "surface": "#14171c",
    "text": "#eceff4",
    "muted": "#a3adba",
    "faint": "#808893",
    "grid": "#242932",
    "axis": "#3c4450",
    "band": "#1e222a",
    "good": "#56c98d",
    "bad": "#ff7b72",
    "series-1": "#84a9ff",
    "series-2": "#f2a65a",
}

THEMES: MappingProxyType[str, MappingProxyType[str, str]] = MappingProxyType(
    {"light": MappingProxyType(_LIGHT), "dark": MappingProxyType(_DARK)}
)
"""Theme -> token -> colour. Both themes have the same tokens; a style sheet that inlines an SVG defines `--<token>`."""


def token(name: str) -> str:
    """The colour `name` as the specification carries it, to be resolved by CSS or by `render_png`.

    Raises:
        KeyError: no theme has that token.
    >>> token("good")
    'var(--good)'
    """
    if name not in _LIGHT:
        raise KeyError(name)
    return f"var(--{name})"


def line(points: list[Spec], tone: str, x: Spec, y: Spec, *, front: bool) -> Spec:
    """A line through points; one that stands in front is thicker."""
    return {
        "data": {"values": points},
        "mark": {
            "type": "line",
            "color": token(tone),
            "aria": False,
            "opacity": 1,
            "strokeWidth": 2.25 if front else 1.5,
        },
        "encoding": {"x": x, "y": y},
    }


def dots(points: list[Spec], tone: str, x: Spec, y: Spec, *, size: int = 56) -> Spec:
    """Points on the surface, each told by its `said` where it has one."""
    said = {"description": {"field": "said", "type": "nominal"}} if points and "said" in points[0] else {}
    mark = {"type": "point", "filled": True, "color": token(tone), "size": size, "opacity": 1}
    return {
        "data": {"values": points},
        "mark": {**mark, "stroke": token("surface"), "strokeWidth": 1.5},
        "encoding": {"x": x, "y": y, **said},
    }


def frame(title: list[str], subtitle: list[str], *, padding: int = 18) -> Spec:
    """What every chart starts from: schema, surface, title that states the finding, and type settings.

    Args:
        title: lines, already cleaned and wrapped.
        subtitle: lines, how the finding was measured; may be empty.
        padding: CSS px around the drawing.
    """
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": token("surface"),
        "padding": padding,
        "title": {
            "text": [literal(t) for t in title],
            "subtitle": [literal(t) for t in subtitle],
            "anchor": "start",
            "frame": "bounds",
        },
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "title": {
                "color": token("text"),
                "fontSize": TITLE_SIZE,
                "fontWeight": 600,
                "lineHeight": 22,
                "subtitleColor": token("muted"),
                "subtitleFontSize": SUBTITLE_SIZE,
                "subtitleFontWeight": 400,
                "subtitleLineHeight": 18,
                "subtitlePadding": 5,
                "offset": 18,
            },
            "axis": {
                "labelColor": token("muted"),
                "labelFontSize": TICK_SIZE,
                "labelFontWeight": 400,
                "titleColor": token("muted"),
                "titleFontSize": FIGURE_SIZE,
                "titleFontWeight": 500,
                "gridColor": token("grid"),
                "gridWidth": 1,
                "domainColor": token("axis"),
                "ticks": False,
                "labelPadding": 8,
                "titlePadding": 10,
            },
            "text": {"color": token("text"), "fontSize": FIGURE_SIZE, "fontWeight": 400, "baseline": "middle"},
        },
    }
