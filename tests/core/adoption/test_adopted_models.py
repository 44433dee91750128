"""A person's model answers as before once it's adopted: every estimator, every form of file."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from core.adoption.owned import WAYS, adopt, table
from mcp_server.core.adoption.parity import adopted_parity, require_adopted_parity
from mcp_server.core.predictor.batch import compile_batch

SMALL: dict[str, Any] = {"n_estimators": 5, "random_state": 0}
QUICK: dict[str, Any] = {"max_iter": 8, "random_state": 0}

CLASSIFIERS: list[Any] = [
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(MinMaxScaler(), LogisticRegression()),
    make_pipeline(RobustScaler(), LogisticRegressionCV(Cs=2, cv=2, max_iter=500)),
    make_pipeline(MaxAbsScaler(), GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)),
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(**SMALL),
    make_pipeline(StandardScaler(), RandomForestClassifier(**SMALL)),
    ExtraTreesClassifier(**SMALL),
    GradientBoostingClassifier(**SMALL),
    make_pipeline(StandardScaler(), GradientBoostingClassifier(**SMALL, init="zero")),
    HistGradientBoostingClassifier(**QUICK),
    make_pipeline(RobustScaler(), HistGradientBoostingClassifier(**QUICK)),
]
REGRESSORS: list[Any] = [
    *(LinearRegression(), Ridge(), RidgeCV(), Lasso(), LassoCV(cv=2), ElasticNet(), ElasticNetCV(cv=2), Lars()),
    *(LassoLars(), HuberRegressor(max_iter=500), BayesianRidge(), ARDRegression(), OrthogonalMatchingPursuit()),
    *(QuantileRegressor(), TheilSenRegressor(random_state=0), LinearSVR(), SGDRegressor(random_state=0)),
    make_pipeline("passthrough", StandardScaler(with_mean=False), MinMaxScaler((-1, 1)), Ridge()),
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(random_state=0),
    RandomForestRegressor(**SMALL),
    make_pipeline(MinMaxScaler(), ExtraTreesRegressor(**SMALL)),
    GradientBoostingRegressor(**SMALL),
    GradientBoostingRegressor(**SMALL, loss="huber"),
    HistGradientBoostingRegressor(**QUICK),
    HistGradientBoostingRegressor(**QUICK, loss="absolute_error"),
]


def named(model: Any) -> str:
    return " ".join(type(step).__name__ for _, step in model.steps) if hasattr(model, "steps") else type(model).__name__


def is_answered_alike(content: bytes, model: Any, frame: pl.DataFrame, contract: Any, matrix: Any, *, columns=None):
    """Adopt a file; the form must answer as the model did before it was written, and pass its gate."""
    form, adopted, target, notes = adopt(content, frame, contract, columns)
    found = compile_batch(form).answer(frame)
    rows = adopted.answers(frame)
    assert rows.any()
    if target.classes is None:
        theirs, ours = model.predict(matrix[rows]), found.values[rows]
    else:
        theirs, ours = model.predict_proba(matrix[rows]), found.probabilities[rows]
        assert list(target.classes) == [str(one) for one in model.classes_]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    gate = adopted_parity(form, adopted, frame, rng=np.random.default_rng(0))
    require_adopted_parity(gate)
    return form, adopted, gate, notes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", ["wine", "breast_cancer"])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=named)
def test_classifiers_answer_as_before(model, data) -> None:
    frame, contract, matrix, target = table(data)
    model.fit(matrix, target)
    kept = [WAYS[way](model) for way in ("pickle 5", "joblib", "skops")]
    for content in kept:
        *_, gate, _ = is_answered_alike(content, model, frame, contract, matrix)
    assert gate.vectors > 0 or "Logistic" in named(model) or "Grid" in named(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", REGRESSORS, ids=named)
def test_regressions_answer_as_before(model) -> None:
    frame, contract, matrix, target = table("diabetes")
    model.fit(matrix, target)
    for way in ("pickle 4", "skops"):
        is_answered_alike(WAYS[way](model), model, frame, contract, matrix)
