"""Text on charts: measured with the shipped fonts, cut, wrapped; numbers written out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.charts.lettering import (
    FONT_FOLDER,
    covered,
    digits_for,
    fit,
    nice_ticks,
    plain,
    shorten,
    signed,
    thousands,
    width,
    wrap,
)

WEIGHTS = st.sampled_from([400, 500, 600])


def test_the_fonts_are_small_and_carry_their_licence() -> None:
    fonts = sorted(FONT_FOLDER.glob("*.otf"))
    assert [font.name for font in fonts] == [
        f"CourtsideInter-{weight}.otf" for weight in ("Medium", "Regular", "SemiBold")
    ]
    assert sum(font.stat().st_size for font in fonts) <= 400_000
    licence = (FONT_FOLDER / "OFL.txt").read_text()
    assert "The Inter Project Authors" in licence
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence


@pytest.mark.parametrize(
    "alphabet",
    [
        "".join(map(chr, range(0x20, 0x7F))),
        "".join(map(chr, range(0xA0, 0x180))).translate({0xAD: None, 0x149: None}),
        "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρστυφχψω",
        "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя",
        "−×±≤≥≠≈Δ→←↑↓…“”‘’–—·•€£%‰°²³½∞√∑∂□✓✗\u202f\u2009",
    ],
)
def test_every_weight_draws_the_alphabets_of_labels(alphabet: str) -> None:
    assert [c for c in alphabet if ord(c) not in covered()] == []


def test_a_width_is_the_sum_of_the_advances_in_the_font() -> None:
    # Inter 3.19, 2,816 units to the em: A is 1,904 units wide in the regular weight.
    assert width("A", 2816) == 1904
    assert width("AA", 28.16) == pytest.approx(38.08)
    assert width("A", 2816, 600) > width("A", 2816, 400)


@given(st.text(max_size=80), st.floats(40, 400), WEIGHTS)
def test_wrapped_lines_are_no_wider_than_asked(text: str, limit: float, weight: int) -> None:
    lines = wrap(text, limit, 13, weight)
    assert len(lines) <= 3
    assert all(width(line, 13, weight) <= limit for line in lines)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=12))
def test_wrapping_loses_no_word_where_there_is_room(words: list[str]) -> None:
    lines = wrap(" ".join(words), 300, 13, lines=12)
    assert " ".join(lines).split() == words


def test_wrapping_keeps_a_figure_with_its_thousands_whole() -> None:
    assert wrap("drawn from 2\u202f000 resamples", 66, 13, lines=5)[-2:] == ["2\u202f000", "resamples"]


@given(st.text(max_size=200), st.integers(3, 60))
def test_a_shortened_text_is_short_and_shows_no_hidden_character(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short.isprintable() or any(c.isspace() for c in short)


def test_a_shortened_name_keeps_its_version() -> None:
    assert shorten("a-very-long-name-of-a-model-that-goes-on-and-on@17").endswith("on@17")


@given(st.text(max_size=60), st.floats(20, 200))
def test_a_fitted_text_fits(text: str, limit: float) -> None:
    assert width(fit(text, limit, 12), 12) <= limit


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_a_signed_number_reads_back_as_the_rounded_value(value: float, digits: int) -> None:
    text = signed(value, digits)
    assert float(text.replace("−", "-")) == pytest.approx(round(value, digits), abs=10**-digits * 0.51)
    assert "-" not in text
    assert text.lstrip("+") == plain(value, digits)


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert signed(-0.0004, 3) == "0.000"


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
def test_ticks_are_even_and_within_the_range(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    steps = [b - a for a, b in pairwise(ticks)]
    assert 3 <= len(ticks) <= 12
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)
    assert ticks[0] >= low - span * 1e-6
    assert ticks[-1] <= low + span * (1 + 1e-6)


def test_digits_show_the_resolution() -> None:
    assert [digits_for(x) for x in (100, 1, 0.1, 0.02, 0.001, 1e-9)] == [0, 0, 1, 2, 3, 6]


def test_counts_take_at_most_three_figures() -> None:
    assert [thousands(x) for x in (0, 950, 2000, 12_500, 3_000_000)] == ["0", "950", "2k", "12.5k", "3M"]
