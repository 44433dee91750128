"""Groups side by side: worked by hand, published figures, laws and refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.contract.fairness import RATES, SHARES
from mcp_server.core.fairness import Group, Limit, fairness, group_rows, proxies, rule
from mcp_server.core.fairness.gates import overall
from mcp_server.core.fairness.intervals import Rate, difference, ratio
from mcp_server.core.fairness.rates import rates_of
from mcp_server.core.metrics import wilson_interval
from mcp_server.errors import BadSample, InvalidInput


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def share(count: int, rows: int) -> Rate:
    return Rate(count / rows, *wilson_interval(count, rows), rows)


def two(first: int, second: int) -> list[Group]:
    """Rows 0 to first - 1 and the rest."""
    rows = np.arange(first + second) < first
    return [Group("a", True, rows), Group("b", True, ~rows)]


def table(happened_selected: int, happened_not: int, not_selected: int, not_not: int) -> tuple[np.ndarray, np.ndarray]:
    """Target and forecast of a confusion matrix."""
    target = np.repeat([1.0, 1.0, 0.0, 0.0], [happened_selected, happened_not, not_selected, not_not])
    forecast = np.repeat([0.9, 0.2, 0.8, 0.1], [happened_selected, happened_not, not_selected, not_not])
    return target, forecast


@pytest.mark.parametrize(
    ("task", "forecast"),
    [
        ("binary", np.array([0.2, 0.9, 0.7, 0.1])),
        ("multiclass", np.array([[0.2, 0.8, 0.0], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0], [0.2, 0.7, 0.1]])),
        ("regression", np.array([0.2, 0.9, 0.7, 0.1])),
    ],
)
def test_a_contract_can_limit_every_rate_that_a_model_decides_and_no_other(task, forecast):
    rates = rates_of(np.array([0.0, 1.0, 0.0, 1.0]), forecast, task=task, rng=rng())
    assert rates.keys() - {"base_rate"} == RATES[task]
    assert {name for name in rates if name in SHARES} == {name for name in rates if name.endswith("_rate")}


# Groups ----------------------------------------------------------------------------------------------------------


def test_a_category_makes_a_group_of_each_value_the_largest_first():
    found = group_rows(pl.Series("team", ["x", "y", "y", None, "y", "x"]))
    assert [(one.name, one.rows.sum(), one.value) for one in found] == [
        ("y", 3, True),
        ("x", 2, True),
        ("(missing)", 1, False),
    ]


def test_from_the_ninth_value_on_they_are_one_group():
    found = group_rows(pl.Series("c", [f"v{at}" for at in range(12) for _ in range(12 - at)]))
    assert len(found) == 8
    assert {one.name for one in found} == {*(f"v{at}" for at in range(7)), "(other)"}


def test_a_number_makes_ranges_between_its_quartiles_and_few_values_are_groups_themselves():
    found = group_rows(pl.Series("age", range(1, 101)))
    assert {one.name: int(one.rows.sum()) for one in found} == {
        "up to 25": 25,
        "above 25 to 50": 25,
        "above 50 to 75": 25,
        "above 75": 25,
    }
    assert {one.name for one in group_rows(pl.Series("legs", [2, 4, 4, 2]))} == {"2", "4"}


def test_a_value_that_reads_like_a_name_of_ours_or_is_long_goes_by_its_place():
    series = pl.Series("c", ["(missing)", None, "up to 5", "x" * 300, "plain", "plain"])
    found = {one.name: one.value for one in group_rows(series)}
    assert found == {"plain": True, "(value 2)": False, "(value 3)": False, "(value 4)": False, "(missing)": False}


@given(
    st.one_of(
        st.lists(st.one_of(st.none(), st.integers(-5, 30)), min_size=2, max_size=60),
        st.lists(st.one_of(st.none(), st.sampled_from("abcdefghijkl")), min_size=2, max_size=60),
        st.lists(st.one_of(st.none(), st.booleans()), min_size=2, max_size=60),
    )
)
def test_every_row_is_in_exactly_one_group(values):
    series = pl.Series("c", values, strict=False)
    if series.n_unique() < 2:
        return
    if series.dtype == pl.Null:
        return
    found = group_rows(series)
    assert (sum(one.rows.astype(int) for one in found) == 1).all()
    sizes = [int(one.rows.sum()) for one in found]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0


def test_one_group_only_and_a_date_are_refused():
    with pytest.raises(BadSample, match="one group"):
        group_rows(pl.Series("c", ["a", "a"]))
    with pytest.raises(BadSample, match="makes no groups"):
        group_rows(pl.Series("c", ["2020-01-01", "2020-01-02"]).str.to_date())


# Rates and gaps --------------------------------------------------------------------------------------------------


def test_rates_by_hand():
    """Of 100 rows 40 happened: 30 of them selected; of the other 60, 12."""
    found = rates_of(*table(30, 10, 12, 48), task="binary", rng=rng())
    assert {name: (round(rate.value, 4), rate.rows) for name, rate in found.items()} == {
        "base_rate": (0.4, 100),
        "selection_rate": (0.42, 100),
        "false_positive_rate": (0.2, 60),
        "false_negative_rate": (0.25, 40),
        # 30 * .9 + 10 * .2 + 12 * .8 + 48 * .1 = 43.4 expected, 40 happened.
        "calibration_gap": (0.034, 100),
        "calibration_error": (round(found["calibration_error"].value, 4), 100),
    }
    assert (found["false_negative_rate"].low, found["false_negative_rate"].high) == wilson_interval(10, 40)


def test_a_rate_of_no_rows_is_left_out():
    assert "false_negative_rate" not in rates_of(np.zeros(20), np.full(20, 0.1), task="binary", rng=rng())


def test_a_regression_has_its_mean_error_with_students_interval():
    errors = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    found = rates_of(np.zeros(10), errors, task="regression", rng=rng())["mean_error"]
    # Mean 5.5, standard error 0.9574, t(9) = 2.2622.
    assert (found.value, found.low, found.high) == (5.5, pytest.approx(3.334, abs=2e-3), pytest.approx(7.666, abs=2e-3))


def test_a_multiclass_model_has_its_error_rate():
    forecast = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]] * 10)
    found = rates_of(np.array([0.0, 1.0, 2.0, 2.0] * 10), forecast, task="multiclass", rng=rng())
    assert (found["error_rate"].value, found["error_rate"].rows) == (0.25, 40)


def test_the_interval_of_a_difference_is_newcombes():
    """Newcombe (1998), table II, method 10: 56/70 - 48/80 and 9/10 - 3/10."""
    assert difference(share(56, 70), share(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference(share(9, 10), share(3, 10)) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_ratio_and_its_reciprocal_have_reciprocal_intervals(n, m, data):
    a, b = data.draw(st.integers(1, n)), data.draw(st.integers(1, m))
    one, other = share(a, n), share(b, m)
    value, low, high = ratio(one, other)
    back, back_low, back_high = ratio(other, one)
    assert value == pytest.approx(1.0 / back)
    assert low <= value * (1 + 1e-9)
    assert value <= high * (1 + 1e-9)
    assert low == pytest.approx(1.0 / back_high, rel=1e-6)
    assert high == pytest.approx(1.0 / back_low, rel=1e-6)


def test_a_ratio_to_nothing_has_no_value_and_no_end():
    value, low, high = ratio(share(10, 20), share(0, 20))
    assert (value, high) == (None, None)
    assert low > 1.0
    assert ratio(share(0, 20), share(10, 20))[:2] == (0.0, 0.0)


def test_the_intervals_of_ratios_hold_the_true_ratio_about_as_often_as_they_say():
    chance = np.random.default_rng(3)
    held = 0
    for _ in range(1_000):
        _, low, high = ratio(share(int(chance.binomial(120, 0.3)), 120), share(int(chance.binomial(80, 0.2)), 80))
        held += low <= 1.5 and (high is None or high >= 1.5)
    assert 925 <= held <= 975


# The report ------------------------------------------------------------------------------------------------------


def halves(first: tuple, second: tuple, **rest):
    one, other = table(*first), table(*second)
    groups = two(sum(first), sum(second))
    return fairness(
        np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]), groups, task="binary", rng=rng(), **rest
    )


def test_every_rate_is_held_against_the_largest_group():
    found = halves((60, 20, 24, 96), (15, 15, 5, 65))
    assert found.reference == "a"
    by_rate = {one.rate: one for one in found.disparities}
    assert {one.group for one in found.disparities} == {"b"}
    selection = by_rate["selection_rate"]
    assert (selection.ratio, selection.difference) == (pytest.approx(0.2 / 0.42), pytest.approx(-0.22))
    assert selection.detected
    assert by_rate["calibration_gap"].ratio is None


def test_groups_that_are_treated_alike_show_no_gap():
    found = halves((30, 10, 12, 48), (30, 10, 12, 48))
    assert not any(one.detected for one in found.disparities)
    assert found.conflicts == ()


def test_a_small_group_is_marked_and_nothing_is_concluded_from_it():
    found = halves((60, 20, 24, 96), (0, 9, 1, 10), limits=[Limit("selection_rate", "ratio", 0.8)])
    assert [one.small for one in found.groups] == [False, True]
    assert all(one.few and not one.detected for one in found.disparities)
    ((group, ruling),) = found.rulings
    assert (group, ruling.verdict, ruling.reason) == ("b", "can't tell", "too few rows")


def test_where_base_rates_differ_the_conflict_is_told_with_its_numbers():
    """.6 against .2: the odds are 1.5 and .25, so equal precision and misses need false positives in the ratio 6."""
    found = halves((20, 20, 10, 150), (60, 60, 10, 70))
    (conflict,) = found.conflicts
    assert conflict.base_rates == (0.6, 0.2)
    assert conflict.needed_ratio == pytest.approx(6.0)
    assert conflict.observed_ratio == pytest.approx((10 / 80) / (10 / 160))
    # Of all rows .5 of what happened is selected and 1/12 of the rest.
    assert conflict.needed_gap == pytest.approx((0.5 - 20 / 240) * 0.4)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_the_needed_ratio_is_what_equal_precision_and_misses_lead_to(first, second, precision, missed):
    """Chouldechova's identity, put together from its parts."""

    def false_positives(base: float) -> float:
        caught = base * (1.0 - missed)
        return caught * (1.0 - precision) / precision / (1.0 - base)

    odds = (first / (1.0 - first)) / (second / (1.0 - second))
    assert false_positives(first) / false_positives(second) == pytest.approx(odds)


def test_a_limit_on_what_the_model_does_not_have_is_refused():
    for limit in (Limit("mean_error", "difference", 1.0), Limit("calibration_gap", "ratio", 0.8)):
        with pytest.raises(InvalidInput, match="to limit"):
            halves((30, 10, 12, 48), (30, 10, 12, 48), limits=[limit])


def test_rows_of_rare_values_or_none_are_no_reference():
    values = [f"v{at}" for at in range(12) for _ in range(20 - at)] + [None] * 60
    groups = group_rows(pl.Series("c", values))
    assert [group.name for group in groups[:3]] == ["(missing)", "(other)", "v0"]
    target = np.tile([0.0, 1.0], len(values) // 2)
    found = fairness(target, np.full(len(values), 0.6), groups, task="binary", rng=rng())
    assert found.reference == "v0"
    assert {one.group for one in found.disparities} == {group.name for group in groups} - {"v0"}


def test_a_reference_of_few_rows_is_shown_and_nothing_is_concluded():
    target, forecast = table(5, 5, 5, 5)
    found = fairness(target, forecast, two(12, 8), task="binary", rng=rng())
    assert [one.small for one in found.groups] == [True, True]
    assert not any(one.detected for one in found.disparities)
    assert found.conflicts == ()


def test_one_judged_group_is_refused():
    target, forecast = table(5, 5, 5, 5)
    with pytest.raises(BadSample, match="two groups"):
        fairness(target, forecast, two(20, 0), task="binary", rng=rng())


# Gates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.9, 0.82, 0.99, "pass"),
        (1.1, 0.85, 1.2, "pass"),
        (0.9, 0.79, 1.0, "can't tell"),
        (0.7, 0.6, 0.81, "can't tell"),
        (0.7, 0.6, 0.79, "fail"),
        (1.5, 1.3, 1.7, "fail"),
        (2.0, 1.3, None, "fail"),
        (None, 1.0, None, "can't tell"),
        (1.0, None, None, "can't tell"),
    ],
)
def test_a_ratio_passes_or_fails_only_with_its_whole_interval(value, low, high, verdict):
    assert rule(Limit("selection_rate", "ratio", 0.8), value, low, high).verdict == verdict


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 1))
def test_a_difference_is_judged_alike_whichever_group_comes_first(value, half, limit):
    gate = Limit("false_positive_rate", "difference", limit)
    one = rule(gate, value, value - half, value + half)
    other = rule(gate, -value, -value - half, -value + half)
    assert one.verdict == other.verdict
    if one.verdict == "pass":
        assert abs(value) <= limit
    if one.verdict == "fail":
        assert abs(value) >= limit


def test_all_gates_together_fail_with_one_and_pass_only_with_all():
    gate = Limit("selection_rate", "difference", 0.1)
    passed, failed, open_ = (rule(gate, v, v - h, v + h) for v, h in ((0.0, 0.05), (0.3, 0.05), (0.1, 0.05)))
    assert overall([passed, failed, open_]) == "fail"
    assert overall([passed, open_]) == "can't tell"
    assert overall([passed, passed]) == "pass"
    assert overall([]) == "can't tell"


@pytest.mark.parametrize(("kind", "value"), [("ratio", 0.0), ("ratio", 1.2), ("difference", -0.1)])
def test_a_limit_that_asks_for_nothing_sensible_is_refused(kind, value):
    with pytest.raises(InvalidInput):
        Limit("selection_rate", kind, value)


# Proxies ---------------------------------------------------------------------------------------------------------


def test_a_column_that_gives_the_group_away_is_found_in_any_form():
    chance = rng()
    member = chance.random(1_000) < 0.4
    frame = pl.DataFrame(
        {
            "noise": chance.normal(size=1_000),
            "shifted": chance.normal(size=1_000) + 1.5 * member,
            "wide": chance.normal(size=1_000) * (1 + 4 * member),  # the same mean: only its spread tells
            "town": np.where(member ^ (chance.random(1_000) < 0.1), "north", "south"),
        }
    )
    groups = [Group("m", True, member), Group("f", True, ~member)]
    found = {one.column: one for one in proxies(frame, groups, least=30, rng=chance)}
    assert {name for name, one in found.items() if one.telling} == {"shifted", "wide", "town"}
    # 90 % of the rows of either group are in its town: the area is .9.
    assert found["town"].low < 0.9 < found["town"].high
    # Two normals 1.5 apart: the area is Phi(1.5 / sqrt(2)) = .8556.
    assert found["shifted"].low < 0.8556 < found["shifted"].high


def test_noise_is_hardly_ever_a_proxy():
    chance = np.random.default_rng(5)
    told = covered = 0
    for _ in range(200):
        member = chance.random(300) < 0.5
        frame = pl.DataFrame({"a": chance.normal(size=300), "b": chance.integers(0, 5, 300).astype(str)})
        for one in proxies(frame, [Group("m", True, member)], least=30, rng=chance):
            told += one.telling
            covered += one.low <= 0.5 <= one.high
    assert told <= 4
    assert covered >= 372


def test_a_group_too_small_to_judge_is_not_asked_about():
    member = np.arange(100) < 5
    assert proxies(pl.DataFrame({"x": np.arange(100.0)}), [Group("m", True, member)], least=30, rng=rng()) == []
