"""The one sentence that leads."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.comparison.samples import MADE, games, prices
from mcp_server.core.comparison import compare_all
from mcp_server.core.comparison.wording import equivalence_sentence, sentence

NAMES = [f"m@{number}" for number in range(1, 9)]


def said(target: Any, forecasts: Any, task: Any = "binary", margin: float | None = None, **other: Any) -> str:
    found = compare_all(target, forecasts, task=task, rng=np.random.default_rng(0), margin=margin, resamples=500)
    names = NAMES[: len(forecasts)]
    return " ".join([sentence(found, names, **other), equivalence_sentence(found.pair(0, 1), names)]).strip()


def test_no_difference_is_told_with_its_evidence_and_what_it_would_take() -> None:
    target, *forecasts = games(np.random.default_rng(1), 5_064)
    told = said(target, forecasts, noun="games")
    assert re.fullmatch(
        r"No detectable difference between m@1 and m@2 on 5,064 games \(Δ log loss [−+]\.\d+, 95 % −\.\d+…\+\.\d+\); "
        r"you'd need about [\d,]+ games to detect it; this sample would show ± \.\d+\.",
        told,
    ), told


def test_a_better_model_is_told_with_the_loss_going_down() -> None:
    rng = np.random.default_rng(2)
    target, better, other = games(rng, 4_000)
    worse = 1 / (1 + np.exp(-(np.log(other / (1 - other)) + rng.normal(size=4_000))))
    told = said(target, [better, worse])
    assert re.fullmatch(
        r"m@1 is better than m@2 on 4,000 rows \(Δ log loss −\.\d+, 95 % −\.\d+…−\.\d+; lower is better\)\.", told
    ), told
    assert "m@1 is worse than m@2" in said(target, [worse, better])


def test_of_several_the_best_is_told_with_whom_it_beats_and_the_correction() -> None:
    rng = np.random.default_rng(3)
    target, first, second, other = games(rng, 3_000, models=3)
    worse = 1 / (1 + np.exp(-(np.log(other / (1 - other)) + rng.normal(size=3_000))))
    told = said(target, [worse, first, second])
    assert re.match(r"m@[23] has the best log loss of 3 models on 3,000 rows: better than m@1 \(Δ −", told), told
    assert "no detectable difference from m@" in told
    assert told.count("you'd need about") == 1
    assert told.endswith("Verdicts hold for all 3 pairs together (Holm).")


def test_a_margin_is_held_against_the_interval() -> None:
    target, first, second = prices(np.random.default_rng(4), 2_000)
    assert "m@1 and m@2 lie within ± .5 of RMSE of each other" in said(target, [first, second], "regression", 0.5)
    assert "isn't shown" in said(target, [first, second], "regression", 0.001)
    assert "lie further apart than ± .5 of RMSE" in said(target, [first, second + 5.0], "regression", 0.5)


def test_forecasts_that_agree_in_every_row_are_told_as_such() -> None:
    target, first = games(np.random.default_rng(5), 100, models=1)
    assert said(target, [first, first]).endswith("they score every row alike.")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.integers(2, 8), st.integers(20, 200), st.integers(0, 2**32))
def test_it_never_says_equal_and_stays_short(task: Any, models: int, rows: int, seed: int) -> None:
    target, *forecasts = MADE[task](np.random.default_rng(seed), rows, models=models)
    found = compare_all(target, forecasts, task=task, rng=np.random.default_rng(0), margin=0.1, resamples=100)
    told = sentence(found, NAMES[:models]) + equivalence_sentence(found.pair(0, 1), NAMES)
    assert not re.search(r"equal|same|identical|\bnan\b|\binf\b", told)
    assert len(told) < 1_000


def test_a_bound_is_never_written_on_another_side_of_zero() -> None:
    target, *forecasts = games(np.random.default_rng(1), 200)
    found = compare_all(target, forecasts, task="binary", rng=np.random.default_rng(0), resamples=200)
    (pair,) = found.pairs
    near = replace(pair.primary.found, low=-0.0011, high=0.14, difference=0.07, verdict="no detectable difference")
    tested = replace(pair.primary, found=near)
    told = sentence(replace(found, pairs=(replace(pair, primary=tested),)), NAMES[:2])
    assert "95 % −.14…+.001)" in told, told


def test_an_interval_without_zero_that_the_correction_overrules_says_so() -> None:
    target, *forecasts = games(np.random.default_rng(3), 300, models=3)
    found = compare_all(target, forecasts, task="binary", rng=np.random.default_rng(0), resamples=200)
    overruled = [
        replace(
            pair,
            primary=replace(
                pair.primary,
                found=replace(
                    pair.primary.found, low=0.01, high=0.2, difference=0.1, verdict="no detectable difference"
                ),
            ),
        )
        for pair in found.pairs
    ]
    told = sentence(replace(found, pairs=tuple(overruled), order=(0, 1, 2)), NAMES[:3])
    assert "not after correction for 3 tests" in told, told
