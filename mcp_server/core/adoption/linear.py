"""Linear models: every one that predicts by a weighted sum, or by its logistic function."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import linear_model as kinds
from sklearn.svm import LinearSVR

from mcp_server.core.adoption.described import Object, writer
from mcp_server.core.adoption.state import FITTED, State, names

_REGRESSIONS: dict[str, type[Any]] = {
    one.__name__: one
    for one in (
        *(kinds.LinearRegression, kinds.Ridge, kinds.RidgeCV, kinds.Lasso, kinds.LassoCV, kinds.ElasticNet),
        *(kinds.ElasticNetCV, kinds.Lars, kinds.LassoLars, kinds.HuberRegressor, kinds.BayesianRidge),
        *(kinds.ARDRegression, kinds.SGDRegressor, kinds.QuantileRegressor, kinds.TheilSenRegressor),
        *(kinds.OrthogonalMatchingPursuit, LinearSVR),
    )
}
_CLASSIFIERS: dict[str, type[Any]] = {
    "LogisticRegression": kinds.LogisticRegression,
    "LogisticRegressionCV": kinds.LogisticRegressionCV,
    "SGDClassifier": kinds.SGDClassifier,
}
LINEAR = (*_REGRESSIONS, *_CLASSIFIERS)

# What their fits leave behind beside coefficients; predictions are made of those alone.
_LEFT = names(
    """
    coef_ intercept_ rank_ singular_ n_iter_ n_iter solver_ alpha_ alphas_ best_score_ dual_gap_ l1_ratio l1_ratio_
    mse_path_ active_ coef_path_ outliers_ scale_ X_offset_ X_scale_ lambda_ scores_ sigma_ t_ breakdown_
    n_subpopulation_ n_nonzero_coefs_ normalize method cv_values_ cv_results_ C loss_function_ sparse_coef_
    standard_coef_ standard_intercept_ average_coef_ average_intercept_ n_alphas
    """
)


def linear_model(of: Object) -> Any:
    """A linear model with the coefficients of the described one.

    Raises:
        AdoptionRefused: it isn't fitted, isn't finite, has several targets, or no probabilities of its own.
    """
    if of.name in _REGRESSIONS:
        return _regression(State(of, _REGRESSIONS[of.name], _LEFT))
    return _classifier(State(of, _CLASSIFIERS[of.name], FITTED[of.name]))


def _regression(state: State) -> Any:
    width = state.width()
    # All of them predict by the same method, of the one class that stands for them here.
    made = kinds.LinearRegression()
    made.coef_ = state.numbers("coef_", (width,), (1, width)).reshape(-1)
    made.intercept_ = float(state.numbers("intercept_", (), (1,)).reshape(-1)[0])
    made.n_features_in_ = width
    return made


def _classifier(state: State) -> Any:
    width, classes = state.width(), state.classes()
    outputs = 1 if len(classes) == 2 else len(classes)
    made: Any
    if state.of.name == "SGDClassifier":
        if state.get("loss") not in ("log_loss", "log") or outputs > 1:
            raise state.refused("gives probabilities of its own for two classes and the loss 'log_loss' alone")
        made = kinds.SGDClassifier(loss="log_loss")
    else:
        several = state.get("multi_class")
        one_by_one = _one_by_one(state, several)
        if (outputs > 1 and one_by_one) or (outputs == 1 and several == "multinomial"):
            told = "tells each class from the rest by itself" if one_by_one else "has a softmax of two classes"
            raise state.refused(f"{told} (multi_class, or the solver)")
        state.demand("multi_class", None, "auto", "deprecated", "warn", "multinomial", "ovr")
        made = kinds.LogisticRegression()
    made.coef_ = state.numbers("coef_", (outputs, width))
    made.intercept_ = np.broadcast_to(state.numbers("intercept_", (outputs,), (1,)), (outputs,)).copy()
    made.classes_, made.n_features_in_ = classes, width
    return made


def _one_by_one(state: State, several: Any) -> bool:
    """Whether one class was told from the rest, each by itself: by its name, or by a solver that did nothing else."""
    solver = state.get("solver")
    if several in ("ovr", "warn") or solver == "liblinear":
        return True
    if several == "multinomial" or solver != "newton-cholesky":
        return False
    # Up to scikit-learn 1.5 this solver knew no softmax.
    written = (writer(state.of) or "").split(".")[:2]
    return len(written) < 2 or tuple(map(int, written)) < (1, 6)
