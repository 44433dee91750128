"""From a fitted estimator to the serving form: numbers read out of it, no code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.predictor import FORMAT, read_form
from mcp_server.core.training.estimators import Fitted
from mcp_server.core.training.prepare import Preparation
from mcp_server.core.training.target import Target
from mcp_server.errors import TrainingRefused

_LARGEST = float(np.finfo(np.float64).max)


def to_form(fitted: Fitted, preparation: Preparation, target: Target) -> dict[str, Any]:
    """Write a serving form, without calibration or interval.

    Args:
        fitted: on the matrix of `preparation`, for `target`.
    Returns:
        JSON of `courtside.model/1`; equal for equal estimators, so that its digest is the model's.
    Raises:
        TrainingRefused: a coefficient isn't finite.
    """
    model = fitted.estimator
    parts = _linear(model) if fitted.parameters["algorithm"] == "linear" else _trees(model)
    form = {
        "format": FORMAT,
        "task": target.task,
        "target": target.name,
        "classes": None if target.classes is None else list(target.classes),
        **preparation.to_dict(),
        "estimator": parts,
        "calibration": {"kind": "none"},
        "interval": None,
    }
    read_form(form)
    return form


def _linear(pipeline: Any) -> dict[str, Any]:
    """Coefficients of the encoded columns themselves: the scaler is folded into them."""
    scaler, model = pipeline.named_steps["scale"], pipeline.named_steps["model"]
    coefficients = np.atleast_2d(model.coef_) / scaler.scale_
    intercepts = np.atleast_1d(model.intercept_) - (coefficients * scaler.mean_).sum(axis=1)
    if not (np.isfinite(coefficients).all() and np.isfinite(intercepts).all()):
        raise TrainingRefused(
            "The linear model has no finite coefficients.",
            hint="Check the columns' ranges with validate_data, or leave the widest out.",
        )
    return {"kind": "linear", "coefficients": coefficients.tolist(), "intercepts": intercepts.tolist()}


def _trees(model: Any) -> dict[str, Any]:
    # scikit-learn keeps the trees of each iteration together, one for each output.
    trees = [_nodes(predictor.nodes) for iteration in model._predictors for predictor in iteration]
    return {"kind": "trees", "base": np.ravel(model._baseline_prediction).astype(float).tolist(), "trees": trees}


def _nodes(nodes: NDArray[np.void]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for node in nodes:
        if node["is_leaf"]:
            listed.append({"v": float(node["value"])})
            continue
        listed.append(
            {
                "f": int(node["feature_idx"]),
                # A split of missing against present has an infinite threshold: every number is below the largest.
                "t": float(min(node["num_threshold"], _LARGEST)),
                "l": int(node["left"]),
                "r": int(node["right"]),
                "m": int(node["missing_go_to_left"]),
            }
        )
    return listed
