"""Outgoing text: visible, bounded, and marked where it came from data."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.types import TextContent

from mcp_server.errors import CourtsideError, InvalidInput, QuotaExceeded
from mcp_server.guard.shaping import refusal
from mcp_server.guard.text import MAX_RESULT, bound_json, bound_result, clean, clean_json, cut, fence

hostile = st.text(
    st.characters()
    | st.sampled_from("\x00\x1b\x7f\x9b\r\u202e\u2066\u200b\u200d\u2028\u2029\ufeff\U000e0041\ufe0f\U000e0101\ud800"),
    max_size=8,
)
MARKS = (
    "<untrusted-data-",
    "</untrusted-data-",
    "< / UNTRUSTED-",
    "<untr\u200busted-",
    "<",
    "/",
    "untrusted-",
    "\n",
    "\x1b",
    "é",
)
forged = st.text("0123456789", max_size=10).map(lambda digits: "".join(MARKS[int(digit)] for digit in digits))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(hostile, inner, max_size=5),
    max_leaves=15,
)
VARIATION_SELECTORS = frozenset([*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])


def hidden(character: str) -> bool:
    """What Unicode itself says can't be seen, but for newline and tab."""
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or ord(character) in VARIATION_SELECTORS


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [part for item in value.items() for half in item for part in strings_of(half)]
    if isinstance(value, list):
        return [part for item in value for part in strings_of(item)]
    return [value] if isinstance(value, str) else []


EVERYTHING = "".join(map(chr, range(sys.maxunicode + 1)))


def test_every_hidden_character_of_unicode_is_escaped() -> None:
    assert [hex(ord(character)) for character in clean(EVERYTHING) if hidden(character)] == []


def test_letters_of_every_script_stay() -> None:
    fillers = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}
    shown = {character for character in EVERYTHING if unicodedata.category(character)[0] in "LNPS"}
    assert shown - set(clean(EVERYTHING)) == fillers


@settings(max_examples=10_000)
@given(hostile)
def test_cleaned_text_has_no_hidden_character_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert not any(hidden(character) for character in cleaned)
    assert clean(cleaned) == cleaned
    cleaned.encode()


def test_a_terminal_sequence_is_shown_not_obeyed() -> None:
    assert clean("\x1b[31mred\x1b[0m\ttab\nline") == "\\u{1b}[31mred\\u{1b}[0m\ttab\nline"


def test_ordinary_text_is_the_same_object() -> None:
    text = "home_elo >= 1500"
    assert clean(text) is text


@given(json_values)
def test_cleaned_json_is_clean_everywhere_and_a_fixed_point(value: Any) -> None:
    cleaned = clean_json(value)
    assert not any(hidden(character) for text in strings_of(cleaned) for character in text)
    assert clean_json(cleaned) == cleaned


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_result_never_holds_a_number_that_is_not_finite(number: float) -> None:
    with pytest.raises(CourtsideError, match=r"\$\.metrics\.auc"):
        clean_json({"metrics": {"auc": [0.5, number]}})


def test_none_is_not_mistaken_for_a_number_that_is_not_finite() -> None:
    assert clean_json({"a": None, "b": ["null"]}) == {"a": None, "b": ["null"]}


@given(hostile, st.integers(1, 300))
def test_cut_text_is_never_longer_than_asked(text: str, limit: int) -> None:
    shorter = cut(text, limit)
    assert len(shorter) <= limit
    assert shorter == text or shorter.endswith("…")


@settings(max_examples=10_000)
@given(forged)
def test_a_fence_is_closed_exactly_once(data: str) -> None:
    fenced = fence(data)
    mark = re.search(r"<(untrusted-data-[0-9a-f-]{36})>\n", fenced)
    assert mark is not None
    assert fenced.count(f"</{mark[1]}>") == 1
    assert len(re.findall(r"<[\s/]*untrusted-", fenced, re.IGNORECASE)) == 2
    assert fenced.endswith(f"\n</{mark[1]}>")


def test_two_fences_have_different_marks() -> None:
    assert fence("x") != fence("x")


def test_what_fits_is_left_alone() -> None:
    value = {"rows": [1, 2, 3]}
    assert bound_json(value) is value


@pytest.mark.parametrize(
    "value",
    [
        {"columns": [f"column number {place}" for place in range(100_000)]},
        {"cell": "x" * 5_000_000},
        {"rows": [{f"c{column}": "y" * 100 for column in range(60)} for _ in range(1_000)]},
        {f"name {place}": place for place in range(50_000)},
        {"deep": {"deeper": [{"text": ["é" * 10_000] * 50}]}},
        {"big": [2**80] * 10_000},
    ],
)
def test_a_flood_becomes_a_bounded_result_that_says_so(value: dict[str, Any]) -> None:
    shrunk = bound_json(value)
    assert len(str(shrunk).encode()) <= 2 * MAX_RESULT
    assert shrunk["truncated"] is True


def test_items_left_out_are_counted() -> None:
    shrunk = bound_json({"rows": ["row"] * 50_000})
    assert shrunk["omitted"] + len(shrunk["rows"]) == 50_000


@given(json_values, st.integers(300, 2_000))
def test_a_bound_holds_or_is_refused(value: Any, limit: int) -> None:
    value = {"value": clean_json(value)}
    try:
        shrunk = bound_json(value, limit)
    except QuotaExceeded:
        return
    try:
        assert len(orjson.dumps(shrunk)) <= limit
    except TypeError:
        return  # integers beyond 64 bits are measured another way


def test_a_record_that_cannot_be_made_to_fit_is_refused() -> None:
    with pytest.raises(QuotaExceeded):
        bound_json({f"field {place}": "x" * 64 for place in range(50)}, 1_000)


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_text_is_bounded_in_bytes_and_says_how_much_there_was(character: str) -> None:
    text, _ = bound_result(character * 40_000, {})
    assert len(text.encode()) <= MAX_RESULT
    assert f"{len(character.encode()) * 40_000:,} bytes in all" in text


def test_a_truncated_structure_is_announced_in_the_text() -> None:
    text, structure = bound_result("All rows:", {"rows": ["row"] * 50_000})
    assert f"items left out: {structure['omitted']:,}" in text


def test_a_refusal_shows_the_names_that_it_speaks_of_and_no_others() -> None:
    spoken = InvalidInput("There is no 'a b c'.", details={"digest": "sha256:" + "f" * 64})
    result = refusal(spoken, "0123456789abcdef")
    assert isinstance(result.content[0], TextContent)
    assert '{"name 1":"a b c"}' in result.content[0].text
    assert "ffff" not in result.content[0].text
    assert result.structured_content is not None
    assert result.structured_content["untrusted"]["name 2"].endswith("ffff")
