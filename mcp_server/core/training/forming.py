"""From a fitted estimator to the serving form: numbers read out of it, no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.predictor import FORMAT, read_form
from mcp_server.core.training.estimators import Fitted
from mcp_server.core.training.prepare import Preparation, Style, style_of
from mcp_server.core.training.splines import shifted
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
    form = {
        "format": FORMAT,
        "task": target.task,
        "target": target.name,
        "classes": None if target.classes is None else list(target.classes),
        **preparation.to_dict(),
        "estimator": estimator_part(fitted),
        "calibration": {"kind": "none"},
        "interval": None,
    }
    read_form(form)
    return form


def blend_form(
    members: Sequence[tuple[float, Fitted]],
    preparations: Mapping[Style, Preparation],
    target: Target,
    *,
    intercepts: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Write the serving form of a weighted sum of outputs, without calibration or interval.

    Args:
        members: weight and estimator of each, on the matrix of the preparation of its style.
        preparations: of each style that a member has; they differ in how the same columns are encoded.
        intercepts: of a stack, one for each output.
    Raises:
        TrainingRefused: as `to_form`.
    """
    slices: dict[Style, tuple[int, int]] = {}
    encoder: list[Any] = []
    for style, preparation in preparations.items():
        width = preparation.table_encoder().width
        start = sum(start_width[1] for start_width in slices.values())
        slices[style] = (start, width)
        encoder += [part.model_dump(by_alias=True) for part in shifted(preparation.encoder, start)]
    parts = []
    for weight, fitted in members:
        start, width = slices[_style(fitted)]
        parts.append({"weight": weight, "start": start, "width": width, "estimator": estimator_part(fitted)})
    shared = next(iter(preparations.values()))
    form = to_form(members[0][1], preparations[_style(members[0][1])], target)
    estimator: dict[str, Any] = {"kind": "blend", "members": parts}
    if intercepts is not None:
        estimator["intercepts"] = list(intercepts)
    form |= {**shared.to_dict(), "encoder": encoder, "estimator": estimator}
    read_form(form)
    return form


def estimator_part(fitted: Fitted) -> dict[str, Any]:
    """The `estimator` of a serving form. Raises TrainingRefused where a coefficient isn't finite."""
    read_out = {"linear": _linear, "splines": _linear, "boosting": _trees, "lightgbm": _trees, "extra_trees": _averaged}
    return read_out[fitted.parameters["algorithm"]](fitted.estimator)


def _style(fitted: Fitted) -> Style:
    return style_of(fitted.parameters["algorithm"], fitted.parameters)


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


def _averaged(model: Any) -> dict[str, Any]:
    trees: list[list[dict[str, Any]]] = []
    numbers: dict[bytes, int] = {}
    leaves: list[list[float]] = []
    for tree in (part.tree_ for part in model.estimators_):
        nodes, values = tree.__getstate__()["nodes"], tree.value[:, 0, :]
        if values.shape[1] == 2:  # of two classes the second's share says all
            values = values[:, 1:]
        listed: list[dict[str, Any]] = []
        for node, value in zip(nodes, np.ascontiguousarray(values), strict=True):
            if node["left_child"] < 0:
                number = numbers.setdefault(value.tobytes(), len(leaves))
                if number == len(leaves):
                    leaves.append(value.tolist())
                listed.append({"v": number})
                continue
            listed.append(
                {
                    "f": int(node["feature"]),
                    "t": float(min(node["threshold"], _LARGEST)),
                    "l": int(node["left_child"]),
                    "r": int(node["right_child"]),
                    "m": int(node["missing_go_to_left"]),
                }
            )
        trees.append(listed)
    # Half a tree's vote for each class: a share that no tree gives isn't impossible.
    return {"kind": "averaged", "trees": trees, "leaves": leaves, "floor": 0.5 / len(trees)}
