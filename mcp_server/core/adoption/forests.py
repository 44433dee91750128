"""Decision trees and averages of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.tree._tree import Tree

from mcp_server.core.adoption.described import Object, named, refused
from mcp_server.core.adoption.state import FITTED, State

MOST_TREES = 10_000

_TREES: dict[str, type[Any]] = {
    one.__name__: one
    for one in (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
}
_FORESTS: dict[str, type[Any]] = {
    one.__name__: one
    for one in (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
}


def decision_tree(of: Object) -> Any:
    """A decision tree whose nodes stay within its array and its columns.

    Raises:
        AdoptionRefused: it isn't fitted, has several targets, or its nodes have another form than today's.
    """
    state = State(of, _TREES[of.name], FITTED[of.name])
    width = state.width()
    made = _TREES[of.name]()
    if state.whole("n_outputs_", 1) != 1:
        raise state.refused("has several targets")
    count = 1
    if of.name.endswith("Classifier"):
        made.classes_ = state.classes()
        made.n_classes_ = count = len(made.classes_)
    made.tree_ = _tree(state, width, count)
    made.n_features_in_, made.n_outputs_, made.max_features_ = width, 1, width
    return made


def _tree(state: State, width: int, classes: int) -> Any:
    of = state.get("tree_")
    if not isinstance(of, Object) or of.name != "Tree" or len(of.arguments) != 3:
        raise state.refused("has no tree: it may not be fitted")
    features, counts, outputs = of.arguments
    nodes, values = of.attributes.get("nodes"), of.attributes.get("values")
    fitting = isinstance(counts, np.ndarray) and counts.tolist() == [classes] and outputs == 1 and features == width
    if not fitting or not isinstance(nodes, np.ndarray) or not isinstance(values, np.ndarray):
        raise state.refused("has a tree of another size than its columns and classes")
    if not np.isfinite(values).all():
        raise state.refused("has a leaf that isn't finite")
    if classes > 1:
        values = _shares(state, values)
    made = Tree(width, np.array([classes], dtype=np.intp), 1)
    depth = of.attributes.get("max_depth")
    try:
        made.__setstate__(
            {
                "max_depth": depth if type(depth) is int else 0,
                "node_count": len(nodes),
                "nodes": np.array(nodes),
                "values": np.array(values, dtype=np.float64, order="C"),
            }
        )
    except (ValueError, TypeError, KeyError):
        raise state.refused(
            "has a tree of another form than scikit-learn 1.3 and later: load and save it with one of these"
        ) from None
    _require_sound(state, made, width)
    return made


def _shares(state: State, values: NDArray[Any]) -> NDArray[Any]:
    """The classes' shares in each node; scikit-learn up to 1.3 kept weights, and divided them when it was asked."""
    sums = values.sum(axis=2, keepdims=True) if values.ndim == 3 else np.zeros(1)
    if (values < 0.0).any() or not (sums > 0.0).all():
        raise state.refused("has leaves that don't hold shares of the classes")
    shares: NDArray[Any] = values if np.allclose(sums, 1.0, rtol=0.0, atol=1e-9) else values / sums
    return shares


def _require_sound(state: State, tree: Any, width: int) -> None:
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = np.flatnonzero(left != -1)
    onward = (left[inner] > inner) & (right[inner] > inner) & (left[inner] < len(left)) & (right[inner] < len(left))
    if not len(left) or not (onward & (feature[inner] >= 0) & (feature[inner] < width)).all():
        raise state.refused("has a tree that leads out of its array")


def forest(of: Object) -> Any:
    """A random forest or extra trees; raises as `decision_tree`."""
    state = State(of, _FORESTS[of.name], FITTED[of.name])
    width = state.width()
    made = _FORESTS[of.name](n_jobs=1)
    if state.whole("n_outputs_", 1) != 1:
        raise state.refused("has several targets")
    if of.name.endswith("Classifier"):
        made.classes_ = state.classes()
        made.n_classes_ = len(made.classes_)
    made.estimators_ = [_member(one, width, getattr(made, "n_classes_", 1)) for one in _members(state)]
    made.n_estimators = len(made.estimators_)
    made.n_features_in_, made.n_outputs_ = width, 1
    return made


def _members(state: State) -> list[Any]:
    listed = state.get("estimators_")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_TREES:
        raise state.refused("has no trees, or too many: it may not be fitted")
    return listed


def _member(of: Any, width: int, classes: int) -> Any:
    if not isinstance(of, Object) or of.name not in _TREES:
        raise refused(f"a forest has {named(of) if isinstance(of, Object) else 'something else'} for a tree.")
    made = decision_tree(of)
    if made.n_features_in_ != width or getattr(made, "n_classes_", 1) != classes:
        raise refused("a forest has trees of other columns or classes than its own.")
    return made
