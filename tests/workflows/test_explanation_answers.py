"""What explain_model says of groups: short, with what matters most in front."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.workflows.explanation_answers import Explained

RATES = ("selection_rate", "false_positive_rate", "false_negative_rate", "calibration_gap")


def column(name: str, count: int, *, small: bool = False, gates: bool = False) -> dict[str, Any]:
    """Groups of which each has a gap in each rate, those of the later ones larger."""
    names = [f"{name}-group-{at}" for at in range(count)]
    gaps = [
        {"rate": rate, "group": group, "difference": [0.02 * at, 0.01 * at, 0.03 * at], "ratio": [1.5, 1.2, 1.9]}
        for at, group in enumerate(names[1:], start=1)
        for rate in RATES
    ]
    verdicts = ["pass", "can't tell", "fail"]
    return {
        "column": name,
        "reference": names[0],
        "groups": [
            {
                "name": group,
                "rows": 200 - at,
                "small": small,
                "share_of_all": 0.1,
                "rates": {rate: [0.3, 0.25, 0.35, 200] for rate in RATES},
            }
            for at, group in enumerate(names)
        ],
        "gaps": [] if small else gaps,
        "conflicts": []
        if small
        else [
            {
                "group": group,
                "base_rates": [0.5, 0.3],
                "needed_ratio": 2.0,
                "observed_ratio": 1.9,
                "needed_gap": 0.1,
            }
            for group in names[1:]
        ],
        "verdict": "fail",
        "gates": [
            {
                "rate": "selection_rate",
                "kind": "ratio",
                "limit": 0.8,
                "group": group,
                "verdict": verdicts[at % 3],
                "found": [1.5, 1.2, 1.9],
                "reason": "",
            }
            for at, group in enumerate(names[1:])
        ]
        if gates
        else [],
        "proxies": [{"column": f"p{at}", "group": names[0], "area": [0.8, 0.7, 0.9]} for at in range(5)],
        "asked": 10,
    }


def said(*columns: dict[str, Any]) -> list[str]:
    return Explained(model="m@1", sentence="m@1 on 240 rows.", rows=240, fairness=list(columns)).lines()


def test_the_surest_gaps_and_broken_limits_come_first():
    told = said(column("city", 9, gates=True))
    assert told[1].startswith("Groups of city, held against city-group-0, by rows: city-group-0 200, ")
    assert told[1].endswith("city-group-5 195, 3 more.")
    assert told[2].startswith("Gate, ratio of selection_rate .8 to 1.25: fail for city-group-3")
    assert told[3].startswith("- selected of city-group-8: .3 against .3, +.16 [.08, .24]")
    assert told[-1].endswith("more findings of city are in the structure.")


def test_a_reference_that_is_too_small_is_told():
    told = said(column("city", 3, small=True))
    assert "city-group-0 200 (too small)" in told[1]
    assert told[2] == "city-group-0 is too small to hold the others against: nothing is concluded."


@given(st.integers(1, 3), st.integers(2, 9), st.booleans())
def test_what_is_told_of_groups_is_bounded(columns: int, count: int, gates: bool):
    told = said(*(column(f"column{at}", count, gates=gates) for at in range(columns)))
    assert len("\n".join(told)) < 1_900
    assert any(line.startswith("- selected of") or "Gate" in line for line in told)
