"""What compare_models says of its findings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.workflows.comparing import OUTSIDE, next_step
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


def model(reference: str, algorithm: str = "boosting") -> Any:
    name, version = reference.split("@")
    return SimpleNamespace(name=name, version=int(version), metrics={"algorithm": algorithm})


def ranked(names: list[str], *apart: tuple[str, str], verdict: str = "no detectable difference") -> dict[str, Any]:
    """What was found of models, the best first, of which some are apart."""
    pairs = [
        {"first": one, "second": other, "verdict": "better" if (one, other) in apart else "no detectable difference"}
        for at, one in enumerate(names)
        for other in names[at + 1 :]
    ]
    return {
        "models": [{"model": name} for name in names],
        "lead": names[:2],
        "verdict": verdict,
        "pairs": pairs if len(names) > 2 else [],
    }


def test_a_model_that_loses_to_the_outside_forecast_is_not_recommended():
    found = ranked([OUTSIDE, "nba@1"]) | {"lead": ["nba@1", OUTSIDE], "verdict": "worse"}
    told = next_step(found, [model("nba@1")])
    assert told.startswith("Use the outside forecast, or train again")
    assert "nba@1" not in told
    several = ranked([OUTSIDE, "a@1", "a@2"], (OUTSIDE, "a@1"), (OUTSIDE, "a@2"), verdict="better")
    assert "Use the outside forecast" in next_step(several, [model("a@1"), model("a@2")])


def test_of_several_that_cannot_be_told_apart_the_best_of_the_simplest_is_taken():
    names = ["bg@4", "bg@1", "bg@3", "bg@2"]
    models = [model("bg@1", "linear"), model("bg@2"), model("bg@3", "linear"), model("bg@4")]
    told = next_step(ranked(names, ("bg@4", "bg@2")), models)
    assert told.startswith("No reason to prefer any of bg@4, bg@1 and bg@3 by its forecasts: take bg@1,")
    assert "bg@2" not in told
    # One that loses isn't taken for being simple.
    assert next_step(ranked(names, ("bg@4", "bg@1"), ("bg@4", "bg@3")), models).endswith("keep the one in use.")
