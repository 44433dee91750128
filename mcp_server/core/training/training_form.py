"""The training form: scikit-learn's estimator in a skops file, read only after an audit of everything in it.

A skops file is a zip archive with a schema, which names the types to build, and plain arrays. skops itself trusts
every public estimator; here exactly what our estimators are made of is let through, and nothing is built before
the whole of the schema has been read. Only for a process that may fail: never for the server.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.arrays import read_npy
from mcp_server.core.model_files.report import FileReading, Unread
from mcp_server.core.predictor.form import MAX_MEMBERS
from mcp_server.errors import CorruptArtefact

MAX_BYTES = 256 * 1024 * 1024
MAX_FILES = 50_000
MAX_SCHEMA = 64 * 1024 * 1024
SCHEMA = "schema.json"
PROTOCOL = 2

_NAME = re.compile(r"[0-9]{1,20}\.npy|schema\.json")
_SHARED = {
    ("builtins", "dict", "DictNode"),
    ("builtins", "list", "ListNode"),
    ("builtins", "tuple", "TupleNode"),
    ("builtins", "str", "JsonNode"),
    ("builtins", "str", "TypeNode"),
    ("numpy", "ndarray", "NdArrayNode"),
    ("numpy", "float64", "NdArrayNode"),
    ("numpy", "int64", "NdArrayNode"),
    ("numpy", "uint64", "NdArrayNode"),
}
_BOOSTING = "sklearn.ensemble._hist_gradient_boosting"
_LINEAR_PARTS = {
    ("sklearn.pipeline", "Pipeline", "ObjectNode"),
    ("sklearn.preprocessing._data", "StandardScaler", "ObjectNode"),
    ("sklearn.linear_model._logistic", "LogisticRegression", "ObjectNode"),
    ("sklearn.linear_model._ridge", "Ridge", "ObjectNode"),
}
_BOOSTING_PARTS = {
    (f"{_BOOSTING}.gradient_boosting", "HistGradientBoostingClassifier", "ObjectNode"),
    (f"{_BOOSTING}.gradient_boosting", "HistGradientBoostingRegressor", "ObjectNode"),
    (f"{_BOOSTING}.binning", "_BinMapper", "ObjectNode"),
    (f"{_BOOSTING}.predictor", "TreePredictor", "ObjectNode"),
    ("sklearn.preprocessing._label", "LabelEncoder", "ObjectNode"),
    ("sklearn._loss.link", "Interval", "ObjectNode"),
    ("sklearn._loss.link", "IdentityLink", "ObjectNode"),
    ("sklearn._loss.link", "LogitLink", "ObjectNode"),
    ("sklearn._loss.link", "MultinomialLogit", "ObjectNode"),
    ("sklearn._loss.loss", "HalfBinomialLoss", "ObjectNode"),
    ("sklearn._loss.loss", "HalfMultinomialLoss", "ObjectNode"),
    ("sklearn._loss.loss", "HalfSquaredError", "ObjectNode"),
    ("sklearn._loss._loss", "CyHalfBinomialLoss", "LossNode"),
    ("sklearn._loss._loss", "CyHalfMultinomialLoss", "LossNode"),
    ("sklearn._loss._loss", "CyHalfSquaredError", "LossNode"),
}
_EXTRA_PARTS = {
    ("sklearn.ensemble._forest", "ExtraTreesClassifier", "ObjectNode"),
    ("sklearn.ensemble._forest", "ExtraTreesRegressor", "ObjectNode"),
    ("sklearn.tree._classes", "ExtraTreeClassifier", "ObjectNode"),
    ("sklearn.tree._classes", "ExtraTreeRegressor", "ObjectNode"),
    ("sklearn.tree._tree", "Tree", "TreeNode"),
}
ALLOWED: frozenset[tuple[str, str, str]] = frozenset(_SHARED | _LINEAR_PARTS | _BOOSTING_PARTS | _EXTRA_PARTS)
"""(module, class, skops loader) of everything that a training form may name."""

_BOOSTED = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})
_FORESTS = frozenset({"ExtraTreesClassifier", "ExtraTreesRegressor"})
# A list is a blend's.
_ROOTS = _BOOSTED | _FORESTS | {"Pipeline", "list"}


def training_form_bytes(estimator: Any) -> bytes:
    """Write a training form; its bytes differ from one writing to the next, its content doesn't.

    Args:
        estimator: of a `Fitted`; a list of them for a blend.
    Raises:
        CorruptArtefact: it holds a type that the audit wouldn't let through again.
    """
    import skops.io

    content: bytes = skops.io.dumps(estimator)
    audit_training_form(content)
    return content


def audit_training_form(content: bytes) -> None:
    """Read what a training form would build, without building it.

    Raises:
        CorruptArtefact: it isn't a plain zip archive with one schema of protocol 2 and arrays, has bytes that belong to
            none or to two of them, is too large, is compressed, or names a type outside `ALLOWED`.
    """
    if len(content) > MAX_BYTES:
        raise _refused("is larger than allowed")
    reading = FileReading()
    try:
        # Strictly, so that skops can't find other members than these, nor an array that is larger than its bytes.
        archive = Archive(memoryview(content), reading)
        names = _audit_directory(archive)
        for name in names - {SCHEMA}:
            read_npy(archive.read(name), reading)
        schema = json.loads(bytes(archive.read(SCHEMA)))
    except Unread:
        raise _refused("isn't a sound zip archive of arrays") from None
    except (ValueError, RecursionError):
        raise _refused("has a schema that isn't JSON") from None
    if not isinstance(schema, dict) or schema.get("protocol") != PROTOCOL or schema.get("__class__") not in _ROOTS:
        raise _refused("has another protocol or root than a model of this product")
    for node in _nodes(schema):
        kind = (node.get("__module__"), node.get("__class__"), node.get("__loader__"))
        if kind not in ALLOWED:
            raise _refused("names a type that a model of this product doesn't have")
        if "file" in node and node["file"] not in names:
            raise _refused("names a file that it doesn't have")


def load_training_form(content: bytes) -> Any:
    """Build the estimator of a training form, after the audit. Only in a process of its own.

    Returns:
        a `Pipeline` of a scaler and a linear model, a histogram gradient boosting or extra trees with sound trees, or
        a list of at most eight such.
    Raises:
        CorruptArtefact: the audit refuses it, skops can't build it, or its trees lead out of their arrays.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    audit_training_form(content)
    trusted = sorted(f"{module}.{name}" for module, name, _ in ALLOWED)
    try:
        estimator = skops.io.loads(content, trusted=trusted)
    except (UntrustedTypesFoundException, ValueError, TypeError, KeyError, AttributeError, ImportError, EOFError):
        raise _refused("can't be rebuilt") from None
    members = estimator if isinstance(estimator, list) else [estimator]
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise _refused("has no members, or more than a blend has")
    for member in members:
        _audit_estimator(member)
    return estimator


def _audit_estimator(estimator: Any) -> None:
    name = type(estimator).__name__
    if name == "Pipeline":
        _audit_pipeline(estimator)
    elif name in _BOOSTED:
        _audit_boosted(estimator)
    elif name in _FORESTS:
        _audit_forest(estimator)
    else:
        raise _refused("is another estimator than a model of this product has")


def _audit_directory(archive: Archive) -> frozenset[str]:
    members = archive.members
    if len(members) > MAX_FILES or SCHEMA not in members or members[SCHEMA].size > MAX_SCHEMA:
        raise _refused("has a directory that no model of this product has")
    if any(not _NAME.fullmatch(name) or member.method != zipfile.ZIP_STORED for name, member in members.items()):
        raise _refused("has a member with another name, or a compressed one")
    return frozenset(members)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema that asks for something to be built."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if {"__module__", "__class__", "__loader__"} & part.keys():
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _audit_pipeline(estimator: Any) -> None:
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or not all(isinstance(step, tuple) and len(step) == 2 for step in steps):
        raise _refused("is another pipeline than a scaler and a linear model")
    kinds = tuple(type(step).__name__ for _, step in steps)
    if kinds not in {("StandardScaler", "LogisticRegression"), ("StandardScaler", "Ridge")}:
        raise _refused("is another pipeline than a scaler and a linear model")


def _audit_boosted(estimator: Any) -> None:
    """Compiled code walks these arrays without looking at their bounds."""
    width = getattr(estimator, "n_features_in_", None)
    iterations = getattr(estimator, "_predictors", None)
    if not isinstance(width, int) or not isinstance(iterations, list):
        raise _refused("has no trees")
    for trees in iterations:
        for tree in trees if isinstance(trees, list) else [None]:
            nodes = getattr(tree, "nodes", None)
            if not isinstance(nodes, np.ndarray) or nodes.dtype.names is None or not _sound(nodes, width):
                raise _refused("has a tree that leads out of its array")


def _audit_forest(estimator: Any) -> None:
    """As for boosted trees; a leaf's children are -1 here, and its shares stand in an array beside the nodes."""
    width, trees = getattr(estimator, "n_features_in_", None), getattr(estimator, "estimators_", None)
    if not isinstance(width, int) or not isinstance(trees, list) or not trees:
        raise _refused("has no trees")
    for part in trees:
        tree: Any = getattr(part, "tree_", None)
        if type(tree).__name__ != "Tree" or type(part).__name__ not in ("ExtraTreeClassifier", "ExtraTreeRegressor"):
            raise _refused("has something else for a tree")
        left, right, feature = tree.children_left, tree.children_right, tree.feature
        branches = np.flatnonzero(left >= 0)
        leaves = np.flatnonzero(left < 0)
        onward = (left[branches] > branches) & (right[branches] > branches)
        inside = (left[branches] < tree.node_count) & (right[branches] < tree.node_count)
        known = (feature[branches] >= 0) & (feature[branches] < width)
        # scikit-learn's own marks of a leaf.
        ended = (left[leaves] == -1) & (right[leaves] == -1)
        if not (tree.node_count > 0 and (onward & inside & known).all() and ended.all() and tree.n_features == width):
            raise _refused("has a tree that leads out of its array")


def _sound(nodes: np.ndarray[Any, Any], width: int) -> bool:
    needed = {"is_leaf", "left", "right", "feature_idx", "is_categorical"}
    if nodes.ndim != 1 or not len(nodes) or not needed <= set(nodes.dtype.names or ()) or nodes["is_categorical"].any():
        return False
    branches = np.flatnonzero(nodes["is_leaf"] == 0)
    left, right = nodes["left"][branches].astype(np.int64), nodes["right"][branches].astype(np.int64)
    feature = nodes["feature_idx"][branches].astype(np.int64)
    onward = (left > branches) & (right > branches) & (left < len(nodes)) & (right < len(nodes))
    return bool((onward & (feature >= 0) & (feature < width)).all())


def _refused(why: str) -> CorruptArtefact:
    return CorruptArtefact(
        f"The training form {why}.",
        hint="Don't use this version; train it again from its data set version.",
    )
