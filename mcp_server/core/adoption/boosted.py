"""Gradient boosting: of decision trees, and of histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss, HalfSquaredError
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE, X_BITSET_INNER_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from mcp_server.core.adoption.described import Object
from mcp_server.core.adoption.forests import MOST_TREES, decision_tree
from mcp_server.core.adoption.state import FITTED, State

_KINDS: dict[str, type[Any]] = {
    one.__name__: one
    for one in (
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
}
# Of these a prediction is the sum itself; of the others it's a function of it.
_PLAIN_LOSSES = ("squared_error", "ls", "absolute_error", "lad", "huber", "quantile", "least_squares")
_CLASS_LOSSES = ("log_loss", "deviance", "binary_crossentropy", "categorical_crossentropy", "auto")


def gradient_boosting(of: Object) -> Any:
    """Boosted decision trees.

    Raises:
        AdoptionRefused: it isn't fitted, begins with an estimator of its own, or predicts by another function of
            the sum.
    """
    state = State(of, _KINDS[of.name], FITTED[of.name])
    width, classifier = state.width(), of.name.endswith("Classifier")
    made = _KINDS[of.name]()
    outputs = 1
    if classifier:
        state.demand("loss", *_CLASS_LOSSES)
        made.classes_ = state.classes()
        made.n_classes_ = len(made.classes_)
        outputs = 1 if made.n_classes_ == 2 else made.n_classes_
    else:
        state.demand("loss", *_PLAIN_LOSSES)
    made._loss = _loss(getattr(made, "n_classes_", 0))
    rate = state.get("learning_rate")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0.0 <= rate < 1e6:
        raise state.refused("has no usable 'learning_rate'")
    made.learning_rate = float(rate)
    trees = state.get("estimators_")
    if not isinstance(trees, np.ndarray) or trees.ndim != 2 or trees.shape[1] != outputs or not trees.shape[0]:
        raise state.refused("has no trees, or of another number than its classes: it may not be fitted")
    if trees.size > MOST_TREES * outputs:
        raise state.refused("has too many trees")
    made.estimators_ = np.empty(trees.shape, dtype=object)
    for place, one in np.ndenumerate(trees):
        if not isinstance(one, Object) or one.name != "DecisionTreeRegressor":
            raise state.refused("has something else than a DecisionTreeRegressor for a tree")
        made.estimators_[place] = decision_tree(one)
        if made.estimators_[place].n_features_in_ != width:
            raise state.refused("has a tree of other columns than its own")
    made.n_estimators = made.n_estimators_ = trees.shape[0]
    made.n_trees_per_iteration_, made.n_features_in_ = outputs, width
    made.init_ = _start(state, made)
    return made


def _loss(classes: int) -> Any:
    if classes == 0:
        return HalfSquaredError()
    return HalfBinomialLoss() if classes == 2 else HalfMultinomialLoss(n_classes=classes)


def _start(state: State, made: Any) -> Any:
    """What boosting begins with: nothing, the classes' shares, or a constant."""
    of = state.get("init_")
    if of == "zero":
        return "zero"
    if not isinstance(of, Object) or of.name not in ("DummyClassifier", "DummyRegressor"):
        raise state.refused("begins with an estimator of its own")
    start: Any
    if of.name == "DummyClassifier":
        inner = State(of, DummyClassifier, FITTED[of.name])
        inner.demand("strategy", "prior")
        start = DummyClassifier(strategy="prior")
        start.classes_ = np.arange(made.n_classes_)
        start.class_prior_ = inner.numbers("class_prior_", (made.n_classes_,)).astype(np.float64)
        start.n_classes_, start.n_outputs_, start._strategy = made.n_classes_, 1, "prior"
        start.sparse_output_ = False
    else:
        inner = State(of, DummyRegressor, FITTED[of.name])
        start = DummyRegressor()
        start.constant_ = inner.numbers("constant_", (1, 1)).astype(np.float64)
        start.n_outputs_ = 1
    start.n_features_in_ = made.n_features_in_
    return start


def histogram_boosting(of: Object) -> Any:
    """Histogram gradient boosting; raises as `gradient_boosting`, and where it splits by sets of categories."""
    state = State(of, _KINDS[of.name], FITTED[of.name])
    width, classifier = state.width(), of.name.endswith("Classifier")
    categorical = state.get("is_categorical_")
    if (isinstance(categorical, np.ndarray) and categorical.any()) or state.get("_preprocessor") is not None:
        raise state.refused("splits by sets of categories; encode them with OneHotEncoder or OrdinalEncoder before")
    made = _KINDS[of.name]()
    outputs = 1
    if classifier:
        state.demand("loss", *_CLASS_LOSSES)
        made.classes_ = state.classes()
        outputs = 1 if len(made.classes_) == 2 else len(made.classes_)
        made._loss = _loss(len(made.classes_))
    else:
        state.demand("loss", *_PLAIN_LOSSES)
        made._loss = _loss(0)
    base = state.numbers("_baseline_prediction", (), (1,), (outputs,), (1, outputs), (outputs, 1))
    if base.size != outputs:
        raise state.refused("begins with another number of values than its classes")
    made._baseline_prediction = base.astype(np.float64).reshape(1, outputs)
    iterations = state.get("_predictors")
    if not isinstance(iterations, list) or not 1 <= len(iterations) <= MOST_TREES:
        raise state.refused("has no trees, or too many: it may not be fitted")
    made._predictors = []
    for trees in iterations:
        if not isinstance(trees, list) or len(trees) != outputs:
            raise state.refused("has trees of another number than its classes")
        made._predictors.append([_predictor(state, one, width) for one in trees])
    made.n_features_in_ = made._n_features = width
    made.n_trees_per_iteration_, made.is_categorical_, made._preprocessor = outputs, None, None
    made._bin_mapper = _BinMapper(n_bins=256, random_state=0).fit(np.zeros((2, width)))
    made.max_iter, made._in_fit = len(iterations), False
    return made


def _predictor(state: State, of: Any, width: int) -> Any:
    nodes = of.attributes.get("nodes") if isinstance(of, Object) and of.name == "TreePredictor" else None
    known = PREDICTOR_RECORD_DTYPE.names or ()
    if not isinstance(nodes, np.ndarray) or nodes.ndim != 1 or set(nodes.dtype.names or ()) != set(known):
        raise state.refused("has trees of another form than today's")
    made: NDArray[Any] = np.zeros(len(nodes), dtype=PREDICTOR_RECORD_DTYPE)
    for name in known:
        made[name] = nodes[name]
    inner = np.flatnonzero(made["is_leaf"] == 0)
    left, right, feature = (made[name][inner].astype(np.int64) for name in ("left", "right", "feature_idx"))
    onward = (left > inner) & (right > inner) & (left < len(made)) & (right < len(made))
    if not len(made) or not (onward & (feature >= 0) & (feature < width)).all():
        raise state.refused("has a tree that leads out of its array")
    if made["is_categorical"].any() or not np.isfinite(made["value"]).all() or np.isnan(made["num_threshold"]).any():
        raise state.refused("has a leaf or a threshold that isn't a number, or splits by sets of categories")
    none = np.zeros((0, 8), dtype=X_BITSET_INNER_DTYPE)
    return TreePredictor(made, none, none)
