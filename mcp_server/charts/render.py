"""The one renderer: a specification becomes an SVG that keeps its colour tokens, or a PNG in a theme.

vl-convert holds the interpreter's lock while it works (about a second for the first picture, a fifth for the next), so
this runs in a computing child and never in the process that answers calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

from mcp_server.charts.lettering import FONT_FOLDER
from mcp_server.charts.palette import quantise
from mcp_server.charts.theme import THEMES, Spec, Theme
from mcp_server.errors import InvalidInput

GRAMMAR = "6.4"
COLOURS = 128
BYTES = 60_000

_PERMITTED = """
$schema align anchor angle aria axis background baseline color config cornerRadius data description domain domainColor
domainWidth dx dy encoding field filled font fontSize fontWeight format frame grid gridColor gridWidth height
interpolate labelColor labelFontSize labelFontWeight labelPadding labels layer lineHeight mark nice offset opacity
padding reverse scale shape size spacing stroke strokeCap strokeDash strokeJoin strokeWidth subtitle subtitleColor
subtitleFontSize subtitleFontWeight subtitleLineHeight subtitlePadding text ticks title titleColor titleFontSize
titleFontWeight titlePadding titleX type value values vconcat view width x x2 y y2 zero
"""
_KEYS = frozenset(_PERMITTED.split())
_TYPES = frozenset({"area", "line", "nominal", "point", "quantitative", "rect", "rule", "text"})
_COLOUR_KEYS = frozenset({"background", "color", "fill", "stroke"})
_TOKEN = re.compile(r"var\(--([a-z0-9-]+)\)")
_NAME = re.compile(r"[a-z][a-z_0-9]*")
_TAG = re.compile(r"<[^<>]*>")
_PAINT = re.compile(r'(\s(?:fill|stroke)=")var\(--([a-z0-9-]+)\)(?=")')


def render_svg(spec: Spec) -> str:
    """Draw `spec`; colours stay `var(--token)`, for a page's style sheet or for `render_png`.

    Raises:
        InvalidInput: the specification isn't plain: it has an expression, an address, an image, a literal colour or
            a key that no chart here uses.
    """
    check(spec)
    _register_fonts()
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=GRAMMAR, allowed_base_urls=[])
    return svg


def render_png(spec: Spec, theme: Theme = "light", scale: float = 2) -> bytes:
    """Draw `spec` in a theme, as a PNG of at most 128 colours.

    Args:
        scale: pixels per CSS px; less for a chart so full that the picture would pass 60,000 bytes, down to 1.
    Raises:
        InvalidInput: see `render_svg`.
    """
    svg = paint(render_svg(spec), THEMES[theme])
    while True:
        png = quantise(vl_convert.svg_to_png(svg, scale=scale, ppi=72), COLOURS)
        if len(png) <= BYTES or scale <= 1:
            return png
        # Bytes grow a little faster than the scale, so this overshoots rather than tries three times.
        scale = max(1, scale * (BYTES / len(png)) ** 0.75)


def paint(svg: str, colours: Mapping[str, str]) -> str:
    """`svg` with the tokens of its fills and strokes resolved; a label that reads like a token stays as it is.

    Raises:
        InvalidInput: a token has no colour in `colours`.
    """
    # Text and attribute values are escaped, so a tag has no angle bracket inside and an attribute no quote.
    return _TAG.sub(lambda tag: _PAINT.sub(lambda found: found[1] + _colour(found[2], colours), tag[0]), svg)


def check(spec: Spec) -> None:
    """Refuse what could compute, load or name a colour by itself: nothing is drawn before this has passed.

    Raises:
        InvalidInput: with the path of what is refused.
    """
    _check(spec, "spec")


def _check(value: Any, at: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _KEYS:
                raise _refusal(f"{at}: {key[:40]!r} is not a key that charts use")
            if key == "data":
                _check_rows(inner, f"{at}.data")
            elif key in _COLOUR_KEYS or key.endswith("Color"):
                _check_colour(inner, f"{at}.{key}")
            elif key == "field" and not (isinstance(inner, str) and _NAME.fullmatch(inner)):
                raise _refusal(f"{at}.field: not a plain name")
            elif key in ("mark", "type") and not isinstance(inner, dict) and inner not in _TYPES:
                raise _refusal(f"{at}.{key}: not a mark or type that charts use")
            else:
                _check(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check(inner, f"{at}[{i}]")


def _check_rows(data: Any, at: str) -> None:
    if not isinstance(data, dict) or set(data) != {"values"} or not isinstance(data["values"], list):
        raise _refusal(f"{at}: rows are given inline, as values")
    for i, row in enumerate(data["values"]):
        if not isinstance(row, dict) or not all(_NAME.fullmatch(name) for name in row):
            raise _refusal(f"{at}[{i}]: not a row of plain names")
        if not all(value is None or isinstance(value, str | int | float) for value in row.values()):
            raise _refusal(f"{at}[{i}]: values are text or numbers")


def _check_colour(colour: Any, at: str) -> None:
    if isinstance(colour, dict) and set(colour) == {"value"}:
        colour = colour["value"]
    found = _TOKEN.fullmatch(colour) if isinstance(colour, str) else None
    if colour is not None and (not found or found[1] not in THEMES["light"]):
        raise _refusal(f"{at}: not a colour token")


def _colour(name: str, colours: Mapping[str, str]) -> str:
    if name not in colours:
        raise _refusal(f"no colour for the token {name[:40]!r}")
    return colours[name]


def _refusal(reason: str) -> InvalidInput:
    return InvalidInput(
        f"The chart can't be drawn: {reason}.", hint="Build the specification with a function of the charts package."
    )


@cache
def _register_fonts() -> None:
    vl_convert.register_font_directory(str(FONT_FOLDER))
