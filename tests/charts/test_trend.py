"""The quality trend shows every validation, and names each rule at the end of its line."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import a_trend
from mcp_server.charts.render import check, render_svg
from mcp_server.charts.trend import MOST_SERIES, Series, finding
from mcp_server.errors import InvalidInput

HEIGHT = 280


def test_each_rule_is_named_and_each_validation_is_said() -> None:
    drawn = render_svg(a_trend())
    assert {"contradictions.dependency", "missing.disguised", "numbers.text"} <= set(texts(drawn))
    assert "validation 2 of version 2, contradictions.dependency: 40" in spoken(drawn)


def test_the_title_names_the_rule_that_changed_the_most() -> None:
    assert finding({"a": [1, 2], "b": [9, 3]}, [1, 2]) == "b fell from 9 in version 1 to 3 in version 2"
    assert finding({"a": [1, 2], "b": [3, 3]}, [4, 4]) == (
        "a rose from 1 to 2 with the last validation, of version 4 again"
    )
    assert finding({"a": [2, 2]}, [1, 2]) == "Nothing changed with the last validation"
    assert finding({"a": [2], "b": [1]}, [1]) == "At the first validation 2 rules warn or fail"
    assert finding({}, [1]) == "No validation found anything to warn of"


def test_an_older_version_that_was_validated_last_is_called_so() -> None:
    assert finding({"a": [17, 0]}, [2, 1]) == (
        "a fell from 17 in version 2 to 0 in version 1, which is older and was validated last"
    )


def test_the_axis_names_the_versions_that_were_validated() -> None:
    assert "Validation, of versions 2, 1" in texts(render_svg(a_trend([Series("a", (17, 0))], versions=[2, 1])))
    many = a_trend([Series("a", (0,) * 300)], versions=list(range(3, 303)))
    assert "Validation, first of version 3, last of 302" in texts(render_svg(many))


def test_a_history_in_which_nothing_was_found_can_be_drawn() -> None:
    assert "No validation found anything to warn of" in texts(render_svg(a_trend([], title=finding({}, [1]))))


def test_a_single_validation_can_be_drawn() -> None:
    check(a_trend([Series("duplicates.rows", (3,))], versions=[1]))


def test_counts_that_are_not_one_for_each_validation_are_refused() -> None:
    with pytest.raises(InvalidInput):
        a_trend([Series("duplicates.rows", (3, 4))], versions=[1])
    with pytest.raises(InvalidInput):
        a_trend([], versions=[])


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), max_size=9))
@example([[0, 0, 0], [0, 0, 4], [0, 0, 4], [0, 0, 4]])
def test_labels_never_lie_on_each_other_and_stay_beside_the_plot(counts: list[list[int]]) -> None:
    spec = a_trend([Series(f"rule.{at}", tuple(one)) for at, one in enumerate(counts)], versions=[1, 2, 3])
    check(spec)
    heights = sorted(layer["encoding"]["y"]["value"] for layer in spec["layer"] if layer["mark"]["type"] == "text")
    assert len(heights) == min(len(counts), MOST_SERIES)
    assert all(below - above >= 14.8 for above, below in itertools.pairwise(heights))
    assert all(0.0 <= at <= HEIGHT for at in heights)
