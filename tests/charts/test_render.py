"""What the renderer refuses, what it keeps, and what the pictures weigh."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from typing import Any

import pytest

from charts.drawings import SVG, chunks, elements, indexed, texts
from charts.samples import EVERY_CHART, HOSTILE, a_forest, row, rows
from mcp_server.charts.lettering import covered
from mcp_server.charts.render import BYTES, check, paint, render_png, render_svg
from mcp_server.charts.theme import FONT, THEMES, Spec, token
from mcp_server.errors import InvalidInput

every_chart = pytest.mark.parametrize("spec", EVERY_CHART.values(), ids=EVERY_CHART.keys())


@every_chart
def test_a_drawing_names_its_colours_by_token_only(spec: Spec) -> None:
    paints = {e.get(key) for e in elements(render_svg(spec)) for key in ("fill", "stroke")} - {None, "none"}
    assert paints <= {token(name) for name in THEMES["light"]}
    assert token("surface") in paints


@every_chart
def test_a_drawing_has_no_glyph_that_the_fonts_lack(spec: Spec) -> None:
    svg = render_svg(spec)
    assert {c for text in texts(svg) for c in text if ord(c) not in covered()} == set()
    assert set(re.findall(r'font-family="([^"]*)"', svg)) == {FONT}
    weights = {e.get("font-weight", "400") for e in elements(svg) if e.tag == f"{SVG}text"}
    assert weights <= {"400", "500", "600", "normal"}


@every_chart
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_is_small_indexed_and_on_the_colour_of_its_theme(spec: Spec, theme: Any) -> None:
    png = render_png(spec, theme)
    assert len(png) <= BYTES
    assert len(chunks(png)[b"PLTE"]) <= 128 * 3
    surface = "#" + "".join(f"{part:02x}" for part in indexed(png)[0, 0])
    assert surface == THEMES[theme]["surface"]


def test_a_crowded_chart_is_drawn_smaller_rather_than_heavier() -> None:
    spec = a_forest([row(f"{i} of many metrics with a name as long as can be") for i in range(12)])
    assert 20_000 < len(render_png(spec)) <= BYTES


def test_the_same_specification_gives_the_same_bytes() -> None:
    assert render_png(a_forest()) == render_png(a_forest())


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_label_stays_text(label: str) -> None:
    spec = a_forest([row(label), *rows()], title=label, subtitle=label, reference=label, candidate=label)
    svg = render_svg(spec)
    harmless = {f"{SVG}{name}" for name in ("svg", "g", "rect", "path", "text", "tspan", "line")}
    assert {e.tag for e in elements(svg)} <= harmless
    assert not [e for e in elements(svg) if any(key.endswith("href") or key.startswith("on") for key in e.attrib)]
    assert all(c.isprintable() or c.isspace() for text in texts(svg) for c in text)
    render_png(spec, "dark")


def test_a_label_that_reads_like_a_token_is_shown_as_it_is() -> None:
    svg = paint(render_svg(a_forest([row('" fill="var(--bad)"'), row("var(--good)")])), THEMES["dark"])
    assert {'" fill="var(--bad)"', "var(--good)"} <= set(texts(svg))
    assert THEMES["dark"]["good"] in svg


def test_a_token_without_a_colour_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no colour for the token"):
        paint(render_svg(a_forest()), {"surface": "#ffffff"})


def _with(change: dict[str, Any]) -> Spec:
    spec = copy.deepcopy(a_forest())
    spec["layer"][0].update(change)
    return spec


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"url": "file:///etc/passwd"}},
        {"data": {"url": "https://example.com/a.csv"}},
        {"data": {"values": [], "format": {"type": "csv"}}},
        {"data": {"values": [{"__proto__": 1}]}},
        {"data": {"values": [{"a": {"signal": "1"}}]}},
        {"data": {"name": "source"}},
        {"transform": [{"calculate": "1", "as": "x"}]},
        {"params": [{"name": "p", "expr": "1"}]},
        {"mark": {"type": "text", "text": {"expr": "datum.x"}}},
        {"mark": {"type": "text", "text": {"signal": "width"}}},
        {"mark": "image"},
        {"mark": {"type": "image"}},
        {"mark": {"type": "text", "href": "https://example.com"}},
        {"mark": {"type": "text", "color": "#ff0000"}},
        {"mark": {"type": "text", "color": "url(https://example.com/#a)"}},
        {"mark": {"type": "text", "color": "var(--unknown)"}},
        {"mark": {"type": "text", "color": {"gradient": "linear", "stops": []}}},
        {"encoding": {"color": {"value": "red"}}},
        {"encoding": {"x": {"field": "__proto__", "type": "quantitative"}}},
        {"encoding": {"x": {"field": "a.b", "type": "quantitative"}}},
        {"encoding": {"x": {"axis": {"labelExpr": "datum.label"}}}},
    ],
    ids=str,
)
def test_a_specification_that_computes_loads_or_paints_by_itself_is_refused(change: dict[str, Any]) -> None:
    check(a_forest())
    with pytest.raises(InvalidInput, match="can't be drawn"):
        check(_with(change))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_the_surface(theme: str) -> None:
    colours = THEMES[theme]
    for name in ("text", "muted", "good", "bad", "series-1", "series-2"):
        assert _contrast(colours[name], colours["surface"]) >= 4.5, name
    assert _contrast(colours["faint"], colours["surface"]) >= 3
    assert _contrast(colours["text"], colours["band"]) >= 4.5


def test_both_themes_have_the_same_tokens() -> None:
    assert set(THEMES["light"]) == set(THEMES["dark"])
    with pytest.raises(KeyError):
        token("crimson")


def test_making_a_specification_starts_no_renderer() -> None:
    code = (
        "import sys; from mcp_server.charts import forest, history, reliability; "
        "assert not {'vl_convert', 'sklearn', 'polars', 'mcp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def _contrast(first: str, second: str) -> float:
    """Contrast ratio after WCAG 2.2, from 1 to 21."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
