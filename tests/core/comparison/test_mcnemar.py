from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mcp_server.core.comparison.mcnemar import mcnemar


def answers(both: int, first: int, second: int, neither: int) -> tuple[Any, Any]:
    ours = [True] * both + [True] * first + [False] * second + [False] * neither
    theirs = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(ours), np.array(theirs)


def test_a_published_example() -> None:
    """Fagerland et al. (2013), table 1, after Bentur et al. (2009): exact .0703, mid-p .0391."""
    found = mcnemar(*answers(1, 1, 7, 12))
    assert (found.only_first, found.only_second) == (1, 7)
    assert found.exact == pytest.approx(0.0703, abs=5e-5)
    assert found.mid == pytest.approx(0.0391, abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_exact_p_is_scipys_binomial(first: int, second: int) -> None:
    found = mcnemar(*answers(2, first, second, 1))
    wanted = binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.exact == pytest.approx(wanted, rel=1e-9)
    assert 0.0 <= found.mid <= found.exact <= 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_changing_sides_changes_no_p(first: int, second: int) -> None:
    there, back = mcnemar(*answers(1, first, second, 1)), mcnemar(*answers(1, second, first, 1))
    assert (there.exact, there.mid) == (back.exact, back.mid)
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)


def test_rows_on_which_both_agree_tell_nothing() -> None:
    assert mcnemar(*answers(0, 3, 9, 0)) == mcnemar(*answers(500, 3, 9, 700))
    same = np.array([True, False, True])
    assert mcnemar(same, same).exact == mcnemar(same, same).mid == 1.0
