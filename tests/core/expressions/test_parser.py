"""What is in the language, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.expressions import parse
from mcp_server.errors import DataRejected

REFUSED = [
    "",
    "   ",
    "1 + 1",
    "home_score >",
    "home = away",
    "().__class__.__bases__",
    "home.real",
    "home['x']",
    "__import__('os').system('id')",
    "eval('1')",
    "open('/etc/passwd')",
    "(lambda: home)()",
    "[x for x in home]",
    "home if away else 1",
    "(home := 3) > 1",
    "f'{home}'",
    "home ** 2",
    "2 ** 9999999999 > home",
    "home // 2",
    "home << 999999999",
    "home & 1",
    "~home",
    "home is None",
    "home == None",
    "home == ...",
    "home == b'x'",
    "home == 1j",
    "home < 1e999",
    "home < 9223372036854775808",
    "home < " + "9" * 400,
    "home in away",
    "home in []",
    "home in ['a', 1]",
    "home in [away]",
    "home in [true]",
    "min(home)",
    "min(home, key=abs)",
    "abs(*home)",
    "round(home, away)",
    "round(home, 99)",
    "round(home, -1)",
    "col(home)",
    "col('a', 'b')",
    "is_missing(home, away)",
    "home; away",
    "import os",
    "home == 'a\\x41'",
    "home\0",
    "home == '\ud800'",
    "(" * 300,
    "-" * 400 + "home",
    "not " * 100 + "home",
    "home" + " + home" * 30,
    "[" * 250,
    "home > 1 " + " " * 10_000,
    "a" * 10_000,
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_what_is_not_in_the_language_is_refused(text):
    with pytest.raises(DataRejected) as refused:
        parse(text)
    assert refused.value.code == "E_EXPRESSION"
    assert refused.value.hint
    assert len(refused.value.message) < 200


@settings(deadline=None)
@given(st.text(max_size=600))
def test_any_text_is_an_expression_or_refused(text):
    with contextlib.suppress(DataRejected):
        assert parse(text).columns


def test_an_expression_knows_its_columns():
    assert parse("col('odd name') + home - min(home, away) > 0").columns == {"odd name", "home", "away"}


def test_a_name_that_is_a_python_word_is_reached_by_col():
    assert parse("col('class') == 'A'").evaluate({"class": "A"}) is True


def test_an_unknown_function_gets_a_suggestion():
    with pytest.raises(DataRejected) as refused:
        parse("rond(home)")
    assert "'round'" in refused.value.hint


def test_an_unknown_column_gets_a_suggestion():
    with pytest.raises(DataRejected) as refused:
        parse("home_scor > 1").kind({"home_score": "integer"})
    assert "'home_score'" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("home - away", "integer"),
        ("home / away", "number"),
        ("home * elo", "number"),
        ("abs(-home)", "integer"),
        ("min(home, elo)", "number"),
        ("round(elo)", "number"),
        ("home > away", "boolean"),
        ("team in ['BOS', 'NYK']", "boolean"),
        ("team not in ['BOS']", "boolean"),
        ("day >= '2015-01-01' and not playoff", "boolean"),
        ("year(day)", "integer"),
        ("team", "text"),
        ("1 < home < 9", "boolean"),
        ("is_missing(team)", "boolean"),
    ],
)
def test_the_kind_follows_from_the_columns(text, kind):
    assert parse(text).kind(KINDS) == kind


@pytest.mark.parametrize(
    "text",
    [
        "team + 1",
        "team > 1",
        "home and away",
        "not home",
        "playoff + 1",
        "playoff == 1",
        "playoff < true",
        "day == 'yesterday'",
        "day > 2015",
        "day - day",
        "year(home)",
        "abs(team)",
        "min(team, team)",
        "home in ['BOS']",
        "day in ['soon']",
    ],
)
def test_kinds_that_do_not_go_together_are_refused(text):
    with pytest.raises(DataRejected) as refused:
        parse(text).kind(KINDS)
    assert refused.value.code == "E_EXPRESSION"


KINDS = {
    "home": "integer",
    "away": "integer",
    "elo": "number",
    "team": "category",
    "day": "date",
    "playoff": "boolean",
}
