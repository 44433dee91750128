"""From a rebuilt model to the serving form: coefficients and trees, on the columns themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.adoption.described import refused
from mcp_server.core.adoption.vector import CodedText, FloatArray, RawNumber, VectorEntry, affine, apply
from mcp_server.core.predictor.trees import MAX_DEPTH, MAX_NODES

LARGEST = float(np.finfo(np.float64).max)
_STEPS = 64
Nodes = list[dict[str, Any]]


class Encoder:
    """The encoder of a form, and where in its vector each feature stands.

    Args:
        features: of the estimator, without NaN where it takes none.
        columns: their names.
    """

    def __init__(self, features: Sequence[VectorEntry], columns: Sequence[str]) -> None:
        self.parts: list[dict[str, Any]] = []
        self.width = 0
        self._places: dict[object, int] = {}
        self._columns = columns
        # Of these columns a mark is set for a missing value, which a block of marks can't have.
        self._marked = {
            one.base.column
            for one in features
            if isinstance(one.base, CodedText) and one.base.among and one.base.missing
        }
        self.places = [self._place(one.base) for one in features]

    def _place(self, base: Any) -> int:
        if base not in self._places:
            self._places[base] = self._add(base)
        return self._places[base]

    def _add(self, base: Any) -> int:
        column = self._columns[base.column]
        if isinstance(base, RawNumber):
            return self._append({"column": column, "as": "number", "fill": base.fill}, 1)
        if base.among and base.values and base.column not in self._marked:
            block: object = ("block", base.column, base.among)
            if block not in self._places:
                part = {"column": column, "as": "onehot", "values": list(base.among)}
                self._places[block] = self._append(part, len(base.among) + 1)
            first: int = self._places[block]
            return first + int(base.among.index(base.values[0]))
        lookup = {
            "column": column,
            "as": "lookup",
            "values": list(base.values),
            "numbers": list(base.numbers),
            "other": None if base.other != base.other else base.other,
            "missing": None if base.missing != base.missing else base.missing,
        }
        return self._append(lookup, 1)

    def _append(self, part: dict[str, Any], width: int) -> int:
        self.parts.append(part)
        self.width += width
        return self.width - width


def estimator_part(model: Any, features: Sequence[VectorEntry], encoder: Encoder) -> dict[str, Any]:
    """The `estimator` of a serving form that answers as a fitted estimator does.

    Args:
        model: the last step of a rebuilt model.
        features: its vector; `encoder` has their places.
    Raises:
        AdoptionRefused: its trees are too large or too deep, or a coefficient isn't finite once scalers are folded in.
    """
    name = type(model).__name__
    if hasattr(model, "coef_"):
        return _linear(model, features, encoder)
    splits = _Splits(features, encoder, single=not name.startswith("Hist"))
    if name.startswith("Hist"):
        trees = [splits.histogram_tree(one.nodes) for iteration in model._predictors for one in iteration]
        return {"kind": "trees", "base": model._baseline_prediction.reshape(-1).tolist(), "trees": trees}
    if name.startswith("Gradient"):
        rate = model.learning_rate
        trees = [splits.tree(part.tree_, lambda value: float(value[0, 0]) * rate) for part in model.estimators_.ravel()]
        start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))
        return {"kind": "trees", "base": np.asarray(start, dtype=np.float64).reshape(-1).tolist(), "trees": trees}
    return _averaged(model, splits)


def calibration_part(estimator: dict[str, Any]) -> dict[str, Any]:
    """The `calibration` with which a form answers with the model's own probabilities."""
    if estimator["kind"] == "averaged" and estimator["floor"]:
        return {"kind": "unsmoothed", "floor": estimator["floor"]}
    return {"kind": "none"}


def _linear(model: Any, features: Sequence[VectorEntry], encoder: Encoder) -> dict[str, Any]:
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    intercepts = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64)).copy()
    coefficients = np.zeros((len(weights), encoder.width))
    with np.errstate(over="ignore", invalid="ignore"):
        for at, feature in enumerate(features):
            factor, summand = affine(feature.ops)
            coefficients[:, encoder.places[at]] += weights[:, at] * factor
            intercepts += weights[:, at] * summand
    if not (np.isfinite(coefficients).all() and np.isfinite(intercepts).all()):
        raise refused("its coefficients aren't finite once its scalers are folded into them.")
    return {"kind": "linear", "coefficients": coefficients.tolist(), "intercepts": intercepts.tolist()}


def _averaged(model: Any, splits: _Splits) -> dict[str, Any]:
    classes = hasattr(model, "classes_")
    numbers: dict[bytes, int] = {}
    leaves: list[list[float]] = []

    def leaf(value: NDArray[np.float64]) -> float:
        row = np.clip(value[0], 0.0, 1.0) if classes else value[0]
        if classes and len(row) == 2:  # of two classes the second's share says all
            row = row[1:]
        number = numbers.setdefault(row.tobytes(), len(leaves))
        if number == len(leaves):
            leaves.append(row.tolist())
        return number

    members = getattr(model, "estimators_", [model])
    trees = [splits.tree(part.tree_, leaf) for part in members]
    # Half a tree's vote for each class, as of trained forests, keeps outputs finite; `calibration_part` takes it away.
    floor = 0.5 / len(trees) if classes else 0.0
    return {"kind": "averaged", "trees": trees, "leaves": leaves, "floor": floor, "single": False}


class _Splits:
    """Trees whose questions are put to the columns themselves."""

    def __init__(self, features: Sequence[VectorEntry], encoder: Encoder, *, single: bool) -> None:
        self._features, self._encoder, self._single = features, encoder, single
        self._left = MAX_NODES

    def tree(self, tree: Any, leaf: Callable[[NDArray[np.float64]], float]) -> Nodes:
        """Nodes of a decision tree; `leaf` makes a number of a leaf's value, shape (1, classes)."""
        nodes = tree.__getstate__()["nodes"]
        self._count(len(nodes), tree.max_depth)
        inner = nodes["left_child"] != -1
        thresholds = self._thresholds(nodes["feature"], nodes["threshold"], inner)
        missing = nodes["missing_go_to_left"]
        made = []
        for at, node in enumerate(nodes):
            if inner[at]:
                ways = node["left_child"], node["right_child"], missing[at]
                made.append(self._branch(node["feature"], thresholds[at], *ways))
            else:
                made.append({"v": leaf(tree.value[at])})
        return made

    def histogram_tree(self, nodes: NDArray[np.void]) -> Nodes:
        self._count(len(nodes), int(nodes["depth"].max()))
        inner = nodes["is_leaf"] == 0
        thresholds = self._thresholds(nodes["feature_idx"], nodes["num_threshold"], inner)
        return [
            self._branch(node["feature_idx"], threshold, node["left"], node["right"], node["missing_go_to_left"])
            if branches
            else {"v": float(node["value"])}
            for node, threshold, branches in zip(nodes, thresholds, inner, strict=True)
        ]

    def _count(self, nodes: int, depth: int) -> None:
        self._left -= nodes
        if self._left < 0 or depth > MAX_DEPTH:
            raise refused(
                f"its trees have more than {MAX_NODES:,} nodes or are deeper than {MAX_DEPTH}.",
                hint="Fit it with max_depth or max_leaf_nodes, or with fewer trees.",
            )

    def _branch(self, feature: Any, threshold: float, left: Any, right: Any, missing: Any) -> dict[str, Any]:
        return {
            "f": self._encoder.places[int(feature)],
            "t": float(threshold),
            "l": int(left),
            "r": int(right),
            "m": int(bool(missing)),
        }

    def _thresholds(self, features: Any, thresholds: Any, inner: NDArray[np.bool_]) -> FloatArray:
        found: FloatArray = np.minimum(thresholds, LARGEST).astype(np.float64)
        for at in np.unique(features[inner]):
            ops = self._features[int(at)].ops
            if ops or self._single:
                rows = np.flatnonzero(inner & (features == at))
                found[rows] = largest_below(partial(self._asked, ops), found[rows])
        return found

    def _asked(self, ops: Any, values: FloatArray) -> FloatArray:
        """What a tree of the model compares with its threshold where a column has these values."""
        scaled = apply(ops, values)
        if not self._single:
            return scaled
        # What single precision can't hold is refused by scikit-learn; here it's beyond every threshold.
        with np.errstate(over="ignore"):
            return scaled.astype(np.float32).astype(np.float64)


def largest_below(rising: Callable[[FloatArray], FloatArray], thresholds: FloatArray) -> FloatArray:
    """The largest double that a rising function takes to at most a threshold, for each threshold, shape (n,).

    Returns:
        the largest double where all are, and the smallest where none is.

    >>> largest_below(lambda values: values * 2.0, np.array([3.0, 1.0]))
    array([1.5, 0.5])
    """
    # Doubles as whole numbers in the same order: halving these finds the last bit in 64 steps.
    low, high = (np.full(len(thresholds), int(_ordered(np.array([end]))[0])) for end in (-LARGEST, LARGEST))
    with np.errstate(over="ignore"):  # what overflows is beyond every threshold
        every = rising(np.full(len(thresholds), LARGEST)) <= thresholds
        for _ in range(_STEPS):
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            below = rising(_ordered(middle.view(np.float64), back=True)) <= thresholds
            low, high = np.where(below, middle, low), np.where(below, high, middle)
    found: FloatArray = np.where(every, LARGEST, _ordered(low.view(np.float64), back=True))
    return found


def _ordered(values: FloatArray, *, back: bool = False) -> Any:
    """Doubles to whole numbers that are ordered as they are, or back from such, seen as doubles."""
    bits = values.view(np.int64)
    turned = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    return turned.view(np.float64) if back else turned
