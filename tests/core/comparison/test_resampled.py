"""Learning procedures over resampled runs: the corrected t-test and its Bayesian twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from mcp_server.core.comparison.bayesian_t import bayesian_t
from mcp_server.core.comparison.corrected_t import corrected_t
from mcp_server.errors import BadSample

RUNS = st.lists(st.floats(-1.0, 1.0).map(lambda x: round(x, 6)), min_size=3, max_size=40)


@pytest.fixture(scope="module")
def moons() -> Any:
    """scikit-learn's example "Statistical comparison of models using grid search": AUC of rbf minus that of linear."""
    features, target = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), features, target, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    return rbf - linear


def test_the_corrected_t_is_that_of_scikit_learns_example(moons: Any) -> None:
    """Published there: t .750, one-sided p .227."""
    found = corrected_t(moons, test_share=0.1)
    assert found.difference / found.error == pytest.approx(0.750, abs=5e-4)
    assert found.p / 2 == pytest.approx(0.227, abs=5e-4)


def test_the_bayesian_probabilities_are_those_of_scikit_learns_example_and_of_baycomp(moons: Any) -> None:
    """Published there: rbf is better with probability .773; within ± .01 .432, better .5, worse .068."""
    assert bayesian_t(moons, test_share=0.1, margin=0.0).better == pytest.approx(0.773, abs=5e-4)
    found = bayesian_t(moons, test_share=0.1, margin=0.01)
    # baycomp 1.0.3, CorrelatedTTest.probs(linear, rbf, rope=.01, runs=10)
    assert found.worse == pytest.approx(0.06831754175730047, abs=1e-9)
    assert found.inside == pytest.approx(0.4316824582427, abs=1e-9)
    assert found.better == pytest.approx(0.5, abs=1e-9)


def test_a_cross_validation_agrees_with_baycomp() -> None:
    first = np.array([0.81, 0.79, 0.84, 0.80, 0.83, 0.77, 0.82, 0.85, 0.78, 0.80])
    second = np.array([0.83, 0.80, 0.83, 0.84, 0.85, 0.80, 0.82, 0.88, 0.80, 0.81])
    found = bayesian_t(second - first, test_share=0.1, margin=0.01)
    wanted = (0.001723355387764175, 0.16558164220614502, 0.8326950024060908)
    assert (found.worse, found.inside, found.better) == pytest.approx(wanted, abs=1e-9)


def test_without_shared_rows_it_is_the_plain_t_test() -> None:
    runs = np.array([0.02, 0.01, -0.01, 0.04, 0.02])
    found = corrected_t(runs, test_share=1e-12)
    plain = ttest_1samp(runs, 0.0)
    assert found.p == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval()))


@given(RUNS, st.floats(0.05, 0.9))
def test_changing_sides_turns_the_sign_and_keeps_p(runs: list[float], share: float) -> None:
    there, back = (corrected_t(np.array(runs) * sign, test_share=share) for sign in (1, -1))
    assert (there.difference, there.low, there.p) == pytest.approx((-back.difference, -back.high, back.p))
    assert 0.0 <= there.p <= 1.0
    assert there.low <= there.difference <= there.high
    ours, theirs = (bayesian_t(np.array(runs) * sign, test_share=share, margin=0.05) for sign in (1, -1))
    assert (ours.worse, ours.inside) == pytest.approx((theirs.better, theirs.inside), abs=1e-9)
    assert ours.worse + ours.inside + ours.better == pytest.approx(1.0)
    assert (there.p < 0.05) == (there.low > 0 or there.high < 0) or there.p == pytest.approx(0.05)


def test_procedures_that_never_differ_show_no_difference() -> None:
    assert corrected_t(np.zeros(10), test_share=0.2).p == 1.0
    assert bayesian_t(np.zeros(10), test_share=0.2, margin=0.01).inside == 1.0


@pytest.mark.parametrize(("runs", "share"), [([0.1, 0.2], 0.2), ([0.1] * 5, 1.0), ([0.1] * 5, 0.0)])
def test_too_few_runs_and_impossible_shares_are_refused(runs: list[float], share: float) -> None:
    with pytest.raises(BadSample):
        corrected_t(np.array(runs), test_share=share)
