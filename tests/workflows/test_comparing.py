"""What compare_models says of its findings."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.workflows.comparison_answers import gain


def found(low: float, high: float, verdict: str = "no detectable difference", **other: Any) -> dict[str, Any]:
    return {"difference": (low + high) / 2, "low": low, "high": high, "verdict": verdict, "tests": 6, **other}


def test_an_interval_without_zero_is_told_with_the_correction_that_overrules_it():
    told = gain(found(0.004, 0.216, p=0.03, test="paired bootstrap and t"))
    assert told == ("better by .11 [.004, .216] by itself, not after correction for 6 tests: no detectable difference")
    assert gain(found(-0.216, -0.004)).startswith("worse by .11 [.004, .216] by itself, not after")
    assert "p .07, DeLong" in gain(found(0.004, 0.216, p=0.07, test="DeLong"))
    assert gain(found(-0.1, 0.2)) == "no detectable difference (at most .1 worse, .2 better)"


@given(st.floats(1e-9, 1.0), st.floats(1e-9, 1.0))
def test_no_bound_is_rounded_to_zero(worse: float, better: float):
    told = gain(found(-worse, better))
    assert "most 0 " not in told
    assert " 0 better" not in told
