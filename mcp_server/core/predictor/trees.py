"""Regression trees from data to nested tuples, and the walk down them for one row.

A node is `(feature, threshold, left, right, missing)`: the last three are nodes, and `missing` is the one
of the two that a NaN goes to. A leaf is `(-1, value, None, None, None)`, so that one unpacking serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from mcp_server.core.predictor.form import malformed

Node = tuple[int, float, Any, Any, Any]

MAX_TREES = 50_000
MAX_NODES = 2_000_000
MAX_DEPTH = 64

_BRANCH_KEYS = frozenset({"f", "t", "l", "r", "m"})


def grow(trees: Sequence[Any], *, width: int, outputs: int) -> list[list[Node]]:
    """Check trees and build them.

    Args:
        trees: each a list of nodes, the root first: `{"f", "t", "l", "r", "m"}` (feature index, threshold, indexes
            of the children, 1 where a missing value goes left) or `{"v"}`. A value at or below the threshold goes left.
        width: the length of the vector; a feature index is below it.
        outputs: tree `j` adds to output `j % outputs`.
    Returns:
        for each output its roots, in order.
    Raises:
        CorruptArtefact: a node is ill-formed, a child's index isn't above its parent's, a node has no parent or
            two, a number isn't finite, or a bound on size or depth is broken.
    """
    if len(trees) > MAX_TREES or len(trees) % outputs:
        raise malformed("estimator.trees")
    roots: list[list[Node]] = [[] for _ in range(outputs)]
    total = 0
    for index, nodes in enumerate(trees):
        if not isinstance(nodes, list) or not nodes:
            raise malformed(f"estimator.trees.{index}")
        total += len(nodes)
        if total > MAX_NODES:
            raise malformed("estimator.trees")
        roots[index % outputs].append(_grow_tree(nodes, width, index))
    return roots


def grow_leaves(trees: Sequence[Any], *, width: int, leaves: int) -> list[list[Node]]:
    """Check and build trees whose leaves are numbered; raises as `grow`, also where a number is beyond `leaves`.

    Returns:
        each root in a list of its own: what `walk` adds up is then the number of the one leaf.
    """
    (roots,) = grow(trees, width=width, outputs=1)
    waiting = list(roots)
    while waiting:
        _, value, left, right, _ = waiting.pop()
        if left is not None:
            waiting += [left, right]
        elif not (value.is_integer() and 0 <= value < leaves):
            raise malformed("estimator.leaves")
    return [[root] for root in roots]


def walk(roots: list[Node], vector: list[float], base: float) -> float:
    """Add up the leaves that a vector without NaN reaches, in order, starting from `base`."""
    total = base
    for node in roots:
        feature, threshold, left, right, _ = node
        while left:
            feature, threshold, left, right, _ = left if vector[feature] <= threshold else right
        total += threshold
    return total


def walk_with_missing(roots: list[Node], vector: list[float], base: float) -> float:
    """As `walk`, for a vector in which a NaN stands for a missing value."""
    total = base
    for node in roots:
        feature, threshold, left, right, missing = node
        while left:
            value = vector[feature]
            if value <= threshold:
                feature, threshold, left, right, missing = left
            elif value == value:
                feature, threshold, left, right, missing = right
            else:
                feature, threshold, left, right, missing = missing
        total += threshold
    return total


def _grow_tree(nodes: list[Any], width: int, tree: int) -> Node:
    # From the last node to the first: a child's index is above its parent's, so it is built before.
    built: list[Node | None] = [None] * len(nodes)
    depths = [0] * len(nodes)
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        if not isinstance(node, dict):
            raise malformed(f"estimator.trees.{tree}.{index}")
        if len(node) == 1 and _is_number(node.get("v")):
            built[index] = (-1, float(node["v"]), None, None, None)
            continue
        if node.keys() != _BRANCH_KEYS or not _is_branch(node, width) or not _is_number(node["t"]):
            raise malformed(f"estimator.trees.{tree}.{index}")
        left, right = node["l"], node["r"]
        if left == right or not (index < left < len(nodes) and index < right < len(nodes)):
            raise malformed(f"estimator.trees.{tree}.{index}")
        left_node, right_node = built[left], built[right]
        depths[index] = 1 + max(depths[left], depths[right])
        if left_node is None or right_node is None or depths[index] > MAX_DEPTH:
            raise malformed(f"estimator.trees.{tree}.{index}")
        built[left] = built[right] = None
        built[index] = (node["f"], float(node["t"]), left_node, right_node, left_node if node["m"] else right_node)
    root = built[0]
    if root is None or any(node is not None for node in built[1:]):
        raise malformed(f"estimator.trees.{tree}")
    return root


def _is_branch(node: dict[str, Any], width: int) -> bool:
    whole = all(type(node[key]) is int for key in ("f", "l", "r", "m"))
    return whole and 0 <= node["f"] < width and node["m"] in (0, 1)


def _is_number(value: object) -> bool:
    if type(value) is float:
        return isfinite(value)
    return type(value) is int and abs(value) < 2**53
