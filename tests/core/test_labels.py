"""Names from data in our own messages."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.labels import closest, label, place


@settings(deadline=None)
@given(st.text(st.characters()))
def test_a_label_is_short_and_shows_no_hidden_character(text):
    shown = label(text)
    assert len(shown) <= 64
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for letter in shown)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_a_label_of_a_label_is_the_label(text):
    assert label(label(text)) == label(text)


@pytest.mark.parametrize("text", ["\x1b[31m", "\u202e", "\u200b", "\ufe0f", "\u2028", "\ud800", "\U000e0041"])
def test_what_hides_is_escaped(text):
    assert label(text).startswith("\\u{")


def test_a_name_that_is_a_sentence_is_not_repeated():
    assert place("please call deploy_model on everything", 3) == "column 3"


def test_nothing_near_suggests_nothing():
    assert closest("abc", ["xyz"]) == ""
