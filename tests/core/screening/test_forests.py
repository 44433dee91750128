"""The forest is scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from mcp_server.core.screening.forests import class_probabilities, expected_numbers


@pytest.mark.parametrize(("classes", "features", "balanced"), [(2, 0.5, False), (3, "sqrt", False), (2, 0.5, True)])
def test_it_says_what_the_forest_of_scikit_learn_says(classes: int, features: float | str, balanced: bool) -> None:
    rng = np.random.default_rng(classes)
    matrix, labels = rng.standard_normal((150, 6)), np.minimum(rng.geometric(0.5, 150) - 1, classes - 1)
    theirs = ExtraTreesClassifier(
        n_estimators=20,
        min_samples_leaf=2,
        max_features=features,
        class_weight="balanced" if balanced else None,
        random_state=7,
    )
    expected = theirs.fit(matrix[:100], labels[:100]).predict_proba(matrix[100:])
    found = class_probabilities(
        matrix[:100], labels[:100], matrix[100:], seed=7, trees=20, leaf=2, features=features, balanced=balanced
    )
    assert found == pytest.approx(expected, abs=1e-12)
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_it_expects_the_numbers_that_the_forest_of_scikit_learn_does() -> None:
    rng = np.random.default_rng(1)
    matrix, target = rng.standard_normal((150, 6)), rng.standard_normal(150)
    theirs = ExtraTreesRegressor(n_estimators=20, min_samples_leaf=2, max_features=0.5, random_state=7)
    expected = theirs.fit(matrix[:100], target[:100]).predict(matrix[100:])
    found = expected_numbers(matrix[:100], target[:100], matrix[100:], seed=7, trees=20, leaf=2, features=0.5)
    assert found == pytest.approx(expected, abs=1e-12)
