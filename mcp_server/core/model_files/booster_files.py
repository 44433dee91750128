"""Gradient boosting in text: XGBoost's and CatBoost's JSON, LightGBM's text. Numbers and names, and nothing to run."""

from __future__ import annotations

import re
from typing import Any

from mcp_server.core.model_files.documents import read_json, walk
from mcp_server.core.model_files.report import FileReading, Unread

MOST_LINE = 16 * 1024 * 1024

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]{0,63}\Z")
_HEADINGS = ("tree", "end of trees", "end of parameters", "parameters:", "feature_importances:", "pandas_categorical:")
_XGBOOST = {"learner", "version"}
_BEYOND = "Numbers other than the children and features of trees: compiled code may trust wrong ones."
_TREE_LINES = ("num_leaves", "left_child", "right_child", "split_feature")
_CATBOOST = {"features_info", "model_info"}


def looks_like_lightgbm(view: memoryview) -> bool:
    return bytes(view[:13]) == b"tree\nversion="


def read_lightgbm(view: memoryview, reading: FileReading) -> None:
    """Look at every line.

    Raises:
        Unread: a line isn't one of LightGBM's.
    """
    try:
        text = bytes(view).decode("utf-8")
    except UnicodeDecodeError:
        raise Unread("damaged", "It isn't UTF-8.", 0) from None
    ended = False
    trees = _TextTrees()
    for number, line in enumerate(text.split("\n"), start=1):
        at = f"line {number:,}"
        if len(line) > MOST_LINE or not line.replace("\t", " ").isprintable():
            raise Unread("damaged", "A line isn't plain text.", at)
        name, equals, _ = line.partition("=")
        plain = not line or line.startswith(_HEADINGS) or line.startswith("[") or (equals and _KEY.match(name))
        if not plain and not re.match(r"[^=]{1,200}=[0-9.e+-]+\Z", line):
            raise Unread("unknown_part", "A line isn't one of LightGBM's.", at)
        reading.counts["trees"] += line.startswith("Tree=")
        trees.take(line, at)
        ended |= line == "end of trees"
    trees.check()
    reading.unchecked[_BEYOND] = None
    if not ended:
        raise Unread("damaged", "It's cut off: the trees have no end.", 0)


def json_kind(document: Any) -> str | None:
    """Which model a JSON document is; None where it's none that is known."""
    if not isinstance(document, dict):
        return None
    if document.keys() >= _XGBOOST and isinstance(document["learner"], dict):
        return "XGBoost (JSON)"
    if document.keys() >= _CATBOOST and document.keys() & {"oblivious_trees", "trees"}:
        return "CatBoost (JSON)"
    return None


def read_json_model(view: memoryview, reading: FileReading) -> str:
    """Read a JSON document and tell which model it is.

    Raises:
        Unread: it isn't JSON, isn't one of the known models, or says so half.
    """
    document = read_json(view, 0)
    kind = json_kind(document)
    if kind is None:
        raise Unread("unknown_kind", "It's JSON, and of no kind of model that is known here.", 0)
    if kind.startswith("XGBoost"):
        model = document["learner"].get("gradient_booster")
        if document.keys() != _XGBOOST or not isinstance(model, dict) or not isinstance(document["version"], list):
            raise Unread("unknown_part", "It has other parts than XGBoost writes.", 0)
    stated = document["learner"].get("learner_model_param") if kind.startswith("XGBoost") else None
    features = _whole(stated.get("num_feature")) if isinstance(stated, dict) else None
    reading.unchecked[_BEYOND] = None
    for _, part in walk(document):
        reading.counts["parts"] += 1
        if isinstance(part, dict) and "split_conditions" in part:
            _check_xgboost_tree(part, features)
            reading.counts["trees"] += 1
    return kind


def _check_xgboost_tree(tree: dict[str, Any], features: int | None) -> None:
    left, right, split = (tree.get(name) for name in ("left_children", "right_children", "split_indices"))
    if not isinstance(left, list) or not isinstance(right, list) or len(left) != len(right):
        raise Unread("damaged", "A tree has no children.", 0)
    if not all(type(child) is int for child in left + right):
        raise Unread("damaged", "A tree's child isn't a whole number.", 0)
    inner = [pair != (-1, -1) for pair in zip(left, right, strict=True)]
    followed = [child for children in (left, right) for own, child in enumerate(children) if inner[own]]
    _check_children(followed, len(left), 0)
    if split is not None:
        if not isinstance(split, list) or len(split) != len(left) or not all(type(one) is int for one in split):
            raise Unread("damaged", "A tree's features aren't whole numbers.", 0)
        _check_features([one for own, one in enumerate(split) if inner[own]], features, 0)


def _check_children(children: list[int], count: int, at: int | str) -> None:
    """Every child is within the tree and has one parent, and the root has none: so no way goes in a circle."""
    if not all(0 < child < count for child in children) or len(set(children)) != len(children):
        raise Unread("out_of_bounds", "A tree leads out of its array or in a circle.", at)


def _check_features(used: list[int], features: int | None, at: int | str) -> None:
    if not all(one >= 0 and (features is None or one < features) for one in used):
        raise Unread("out_of_bounds", "A tree asks for a feature that isn't there.", at)


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,9}", text) else None


class _TextTrees:
    """The trees of LightGBM's text, line by line."""

    def __init__(self) -> None:
        self._features: int | None = None
        self._tree: dict[str, list[int]] = {}
        self._at = ""

    def take(self, line: str, at: str) -> None:
        """Look at a line.

        Raises:
            Unread: the tree that ends here leads out, or the line has something else than whole numbers.
        """
        name, _, content = line.partition("=")
        if name in ("Tree", "end of trees"):
            self.check()
            self._at = at
        elif name == "max_feature_idx":
            last = _whole(content)
            self._features = None if last is None else last + 1
        elif name in _TREE_LINES:
            numbers = [_whole(one) for one in content.split()]
            if None in numbers or name in self._tree:
                raise Unread("damaged", "A tree's numbers aren't whole, or are there twice.", at)
            self._tree[name] = [one for one in numbers if one is not None]

    def check(self) -> None:
        """Look at the tree that was taken, and forget it.

        Raises:
            Unread: it leads out of its arrays.
        """
        tree, self._tree = self._tree, {}
        _check_features(tree.get("split_feature", []), self._features, self._at)
        if tree.keys() & {"left_child", "right_child"}:
            leaves = sum(tree.get("num_leaves", []))
            left, right = tree.get("left_child", []), tree.get("right_child", [])
            if len(left) != leaves - 1 or len(right) != leaves - 1:
                raise Unread("damaged", "A tree's children aren't as many as its leaves demand.", self._at)
            children = left + right
            _check_children([child for child in children if child >= 0], leaves - 1, self._at)
            if not all(child >= -leaves for child in children):
                raise Unread("out_of_bounds", "A tree leads to a leaf that isn't there.", self._at)
