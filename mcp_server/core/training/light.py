"""LightGBM, where the extra `boost` is installed: its trees, in the estimator that boosting's other trees are kept in.

What is stored and audited is scikit-learn's histogram gradient boosting with LightGBM's nodes, so that nothing of
LightGBM is needed, or trusted, to load a model or to serve it.

Source: Ke et al. (2017), NeurIPS 30, "LightGBM: a highly efficient gradient boosting decision tree".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import PREDICTOR_RECORD_DTYPE, TreePredictor

from mcp_server.core.metrics import Task
from mcp_server.core.training.parameters import BoostingParameters
from mcp_server.errors import ParityFailed

FloatArray = NDArray[np.float64]

_PATIENCE = 20
_TOLERANCE = 1e-9


def is_usable() -> bool:
    """Whether LightGBM is installed and loads, which needs the system's OpenMP; in a computing process alone."""
    if find_spec("lightgbm") is None:
        return False
    try:
        import_module("lightgbm")
    except (ImportError, OSError):
        return False
    return True


def fit_light(
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    parameters: BoostingParameters,
    weights: FloatArray | None = None,
    validation: tuple[FloatArray, FloatArray, FloatArray | None] | None = None,
    seed: int,
) -> tuple[Any, int]:
    """Boost with LightGBM, on one thread.

    Args:
        matrix: shape (n, width), of a `trees` preparation; NaN where missing.
        target: shape (n,), class indexes, each at least once, or numbers.
        weights: of the rows, shape (n,).
        validation: matrix, target and weights (or None) of rows that stop it once twenty iterations brought nothing.
        seed: of the choice of features at a split.
    Returns:
        the estimator, and its iterations. The same for the same input and seed.
    Raises:
        ParityFailed: the estimator doesn't answer as LightGBM does.
    """
    lightgbm = import_module("lightgbm")
    classes = len(np.unique(target)) if task != "regression" else 1
    told = {
        "objective": task,
        **({"num_class": classes} if task == "multiclass" else {}),
        "learning_rate": parameters.learning_rate,
        "num_leaves": parameters.leaves,
        "lambda_l2": parameters.l2,
        "min_data_in_leaf": parameters.minimum_leaf,
        "feature_fraction_bynode": parameters.max_features,
        "seed": seed % (2**31 - 1),
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    learned = lightgbm.Dataset(matrix, target, weight=weights, params={"verbosity": -1})
    stopping: dict[str, Any] = {}
    if validation is not None:
        judged, truth, judged_weights = validation
        stopping = {
            "valid_sets": [lightgbm.Dataset(judged, truth, weight=judged_weights, reference=learned)],
            "callbacks": [lightgbm.early_stopping(_PATIENCE, verbose=False)],
        }
    booster = lightgbm.train(told, learned, num_boost_round=parameters.iterations, **stopping)
    iterations = max(1, int(booster.best_iteration if validation is not None else booster.current_iteration()))
    outputs = classes if task == "multiclass" else 1
    trees = [_nodes(tree["tree_structure"]) for tree in booster.dump_model(num_iteration=iterations)["tree_info"]]
    estimator = _kept(trees, matrix.shape[1], outputs, task)
    expected = np.asarray(booster.predict(matrix, raw_score=True, num_iteration=iterations)).reshape(len(matrix), -1)
    ask = estimator.predict if task == "regression" else estimator.decision_function
    gap = np.abs(np.asarray(ask(matrix)).reshape(len(matrix), -1) - expected) / np.maximum(1.0, np.abs(expected))
    if not float(gap.max(initial=0.0)) <= _TOLERANCE:
        raise ParityFailed(
            f"LightGBM's trees, as they are kept, differ from its own answers by {float(gap.max()):.3g}.",
            hint="Uninstall the extra boost, or train without seconds and trials.",
        )
    return estimator, len(trees) // outputs


def light_parameters(parameters: BoostingParameters, iterations: int, seed: int) -> dict[str, Any]:
    """What is recorded with the model."""
    return {"algorithm": "lightgbm", **asdict(parameters), "iterations": iterations, "seed": seed}


def _kept(trees: list[NDArray[np.void]], width: int, outputs: int, task: Task) -> Any:
    """An estimator of scikit-learn's with these trees, output after output in each iteration."""
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    estimator: Any = kind(max_iter=1, early_stopping=False, categorical_features=None, random_state=0)
    # Fitted to nothing, for the parts around the trees: classes, loss and bins.
    rows = 2 * max(2, outputs)
    begin = np.arange(rows, dtype=np.float64) if task == "regression" else np.arange(rows) % max(2, outputs)
    estimator.fit(np.zeros((rows, width)), begin)
    none = np.empty((0, 8), dtype=np.uint32)
    made = [TreePredictor(nodes, none, none) for nodes in trees]
    estimator._predictors = [made[at : at + outputs] for at in range(0, len(made), outputs)]
    estimator._baseline_prediction = np.zeros((1, outputs))
    estimator._feature_subsample_rng = None
    return estimator


def _nodes(root: Mapping[str, Any]) -> NDArray[np.void]:
    """A tree of LightGBM's as an array, each node before its children."""
    listed: list[dict[str, Any]] = []
    waiting: list[tuple[Mapping[str, Any], int, str, int]] = [(root, -1, "", 0)]
    while waiting:
        node, parent, side, depth = waiting.pop()
        at = len(listed)
        if parent >= 0:
            listed[parent][side] = at
        if "split_feature" not in node:
            listed.append({"value": node["leaf_value"], "is_leaf": 1, "depth": depth})
            continue
        # Where no row that was learned from lacked the value, LightGBM takes a missing one for zero.
        to_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
        listed.append(
            {
                "feature_idx": node["split_feature"],
                "num_threshold": node["threshold"],
                "missing_go_to_left": int(to_left),
                "depth": depth,
            }
        )
        waiting.append((node["right_child"], at, "right", depth + 1))
        waiting.append((node["left_child"], at, "left", depth + 1))
    nodes = np.zeros(len(listed), dtype=PREDICTOR_RECORD_DTYPE)
    for at, fields in enumerate(listed):
        for name, value in fields.items():
            nodes[at][name] = value
    return nodes
