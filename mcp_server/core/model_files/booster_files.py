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
    for number, line in enumerate(text.split("\n"), start=1):
        at = f"line {number:,}"
        if len(line) > MOST_LINE or not line.replace("\t", " ").isprintable():
            raise Unread("damaged", "A line isn't plain text.", at)
        name, equals, _ = line.partition("=")
        plain = not line or line.startswith(_HEADINGS) or line.startswith("[") or (equals and _KEY.match(name))
        if not plain and not re.match(r"[^=]{1,200}=[0-9.e+-]+\Z", line):
            raise Unread("unknown_part", "A line isn't one of LightGBM's.", at)
        reading.counts["trees"] += line.startswith("Tree=")
        ended |= line == "end of trees"
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
    for _, part in walk(document):
        reading.counts["parts"] += 1
        if isinstance(part, dict) and "split_conditions" in part:
            _check_xgboost_tree(part)
            reading.counts["trees"] += 1
    return kind


def _check_xgboost_tree(tree: dict[str, Any]) -> None:
    """Children are within the tree and after their parent, as a loader doesn't always ask."""
    left, right = tree.get("left_children"), tree.get("right_children")
    if not isinstance(left, list) or not isinstance(right, list) or len(left) != len(right):
        raise Unread("damaged", "A tree has no children.", 0)
    for own, pair in enumerate(zip(left, right, strict=True)):
        for child in pair:
            if type(child) is not int or (child != -1 and not 0 < child < len(left)) or child == own:
                raise Unread("out_of_bounds", "A tree leads out of its array.", 0)
