"""What labels gain: told from the labels that are there, measured on the same rows, or honestly not told."""

from __future__ import annotations

import numpy as np
import pytest

from core.labelling.curves import area, curves, digits, paired
from mcp_server.core.comparison import Comparison
from mcp_server.core.labelling import ExpectedGain, ForecastKind, expected_gain, measured_gain

TWO = ForecastKind("binary", 2)


def ring(rows: int, seed: int):
    """Two classes, inside and outside of a circle: more rows show it better."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 4))
    return matrix, (np.hypot(matrix[:, 0], matrix[:, 1]) < 1.18).astype(float)


def test_the_expected_gain_is_tried_on_fewer_labels_and_carried_over_to_those_that_there_are():
    matrix, target = ring(400, 0)
    found = expected_gain(matrix, target, TWO, count=30, repeats=4, rng=np.random.default_rng(1))
    assert isinstance(found, ExpectedGain)
    assert (found.start, found.added, found.repeats) == (160, 30, 4)
    assert list(found.metrics) == ["log_loss", "accuracy"]
    for tried in found.metrics.values():
        assert tried.difference.value == pytest.approx(tried.chosen.value - tried.random.value)
        for part in (tried.chosen, tried.random, tried.difference):
            assert part.low < part.value < part.high
    assert found.metrics["log_loss"].chosen.value > 0
    # By hand: from 400 labels to 430 against from 160 to 190, a loss of a + b / m falls this much less.
    scale = (1 / 400 - 1 / 430) / (1 / 160 - 1 / 190)
    assert found.now.value == pytest.approx(scale * found.metrics["log_loss"].chosen.value)


def test_the_gain_of_a_sample_is_carried_over_to_all_labels():
    matrix, target = ring(200, 0)
    few, many = (
        expected_gain(matrix, target, TWO, count=10, labels=labels, repeats=3, rng=np.random.default_rng(1))
        for labels in (None, 20_000)
    )
    assert isinstance(few, ExpectedGain)
    assert isinstance(many, ExpectedGain)
    assert many.metrics == few.metrics
    assert abs(many.now.value) < abs(few.now.value) / 5_000


@pytest.mark.parametrize("rows", [0, 12, 79])
def test_with_few_labels_the_gain_cant_be_told(rows):
    matrix, target = ring(rows, 0)
    said = expected_gain(matrix, target, TWO, count=10, rng=np.random.default_rng(1))
    assert said == f"{rows} labels are too few to try it out: about 80 are needed."


def test_with_a_class_that_hardly_occurs_the_gain_cant_be_told():
    matrix, _ = ring(100, 0)
    target = np.zeros(100)
    target[:2] = 1.0
    assert "each class" in expected_gain(matrix, target, TWO, count=10, rng=np.random.default_rng(1))


def test_the_latest_rows_judge_and_teach_nothing_where_there_is_a_time():
    matrix, target = ring(200, 3)
    moments = np.random.default_rng(3).permutation(200)
    late = moments >= 140
    found, flipped = (
        expected_gain(matrix, labels, TWO, count=10, moments=moments, repeats=3, rng=np.random.default_rng(1))
        for labels in (target, np.where(late, 1.0 - target, target))
    )
    assert isinstance(found, ExpectedGain)
    assert isinstance(flipped, ExpectedGain)
    assert found.start + 4 * found.added == 140
    # The same forecasts of the same rows: where labels are turned round, right is wrong.
    gained, lost = found.metrics["accuracy"], flipped.metrics["accuracy"]
    assert gained.chosen.value != 0.0
    assert lost.chosen.value == pytest.approx(-gained.chosen.value)
    assert lost.random.value == pytest.approx(-gained.random.value)


def test_labels_that_help_are_measured_to_help():
    matrix, target = ring(700, 4)
    found = measured_gain(matrix, target, TWO, before=100, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    assert found.rows == 100
    assert found.verdict == "better"
    assert found.primary.first < found.primary.second


def test_labels_that_mislead_are_measured_to_harm():
    matrix, target = ring(700, 4)
    target[100:] = 1.0 - target[100:]
    found = measured_gain(matrix, target, TWO, before=100, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    assert found.verdict == "worse"


def test_what_happened_after_the_judging_rows_teaches_nothing():
    matrix, target = ring(160, 5)
    moments = np.concatenate([np.arange(100), np.arange(0, 60, 2), np.full(30, 500)])
    first, second = (
        measured_gain(matrix, labels, TWO, before=100, moments=moments, rng=np.random.default_rng(0))
        for labels in (target, np.concatenate([target[:130], 1.0 - target[130:]]))
    )
    assert isinstance(first, Comparison)
    assert first == second
    assert first.rows == 30


def test_labels_that_are_all_later_cant_be_judged():
    matrix, target = ring(120, 5)
    said = measured_gain(matrix, target, TWO, before=100, moments=np.arange(120), rng=np.random.default_rng(0))
    assert "nothing later is there to judge them" in said


@pytest.mark.parametrize("before", [0, 10, 19])
def test_few_earlier_labels_cant_judge(before):
    matrix, target = ring(60, 5)
    said = measured_gain(matrix, target, TWO, before=before, rng=np.random.default_rng(0))
    assert said == "Too few rows had labels before to judge by them."


def test_numbers_are_judged_by_rmse():
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(500, 3))
    target = np.sin(2 * matrix[:, 0]) + 0.1 * rng.normal(size=500)
    found = measured_gain(matrix, target, ForecastKind("regression", 0), before=100, rng=rng)
    assert isinstance(found, Comparison)
    assert (found.primary.metric, found.verdict) == ("rmse", "better")


def test_models_of_digits_learn_faster_from_chosen_labels():
    """A small part of `performance.learning_curves`."""
    study = digits(judge=400, most=500, steps=2)
    gained = []
    for seed in range(3):
        found = curves(study, seed)
        assert found["chosen"][0].tolist() == found["random"][0].tolist()
        gained.append(area(found["chosen"]) - area(found["random"]))
    assert (np.mean(gained, axis=0) > 0).all()
    assert paired(np.array(gained)[:, 1])[0] > 0.02
