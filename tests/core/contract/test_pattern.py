"""Patterns are RE2: whole values, linear time, and everything else refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Column
from mcp_server.core.contract.pattern import MAX_LENGTH, Pattern, compiled
from mcp_server.errors import DataRejected

SOURCES = Path(__file__).parents[3] / "mcp_server"


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("[A-Z]{3}", "BOS", True),
        ("[A-Z]{3}", "BOSS", False),
        ("[A-Z]{3}", " BOS", False),
        ("a|ab", "ab", True),
        (r"\d+", "١٢", False),
        (".", "é", True),
        (".", "\n", False),
        ("(?i)bos", "BoS", True),
        ("a", "\ud800", False),
    ],
)
def test_a_pattern_is_about_the_whole_value(pattern, value, matches):
    assert compiled(pattern).matches(value) is matches


@pytest.mark.parametrize(
    "text",
    ["", "(", "a{1001}", "((a{100}){100}){100}", "(?=a)", "(?<!a)b", r"(a)\1", "\ud800", "a" * (MAX_LENGTH + 1), "*"],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_not_re2_is_refused(text):
    with pytest.raises(DataRejected) as refused:
        Pattern(text)
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.hint


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text):
    try:
        pattern = Pattern(text)
    except DataRejected:
        return
    assert pattern.matches("abc") in (True, False)


# In a process of its own with a bound on its time: Python's `re` takes minutes for the first of them.
_EVIL = """
import sys
from mcp_server.core.contract.pattern import Pattern
if sys.argv[1] == "re2":
    for pattern in ("(a+)+$", "(a|a)*b", "(a|aa)+$", "([a-z]+)*=", "(.*a){20}"):
        assert not Pattern(pattern).matches("a" * 100_000 + "!")
else:
    import re
    re.fullmatch("(a+)+", "a" * 40 + "!")
"""


def run(engine: str, seconds: float) -> int:
    done = subprocess.run([sys.executable, "-c", _EVIL, engine], timeout=seconds, cwd=SOURCES.parent)
    return done.returncode


def test_no_pattern_takes_time_that_grows_faster_than_the_text():
    assert run("re2", 60) == 0


def test_the_control_with_pythons_own_engine_does_not_end():
    with pytest.raises(subprocess.TimeoutExpired):
        run("re", 3)


@pytest.mark.parametrize("kind", ["integer", "boolean", "date"])
def test_only_text_has_a_pattern(kind):
    with pytest.raises(ValueError, match="only text"):
        Column(name="a", kind=kind, pattern="a")
