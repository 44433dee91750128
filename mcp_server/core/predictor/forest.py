"""Trees over a matrix: each node is asked of all rows of a chunk at once.

A row's way down a small tree is found without walking it. Each leaf has a bit; a node where the row goes right strikes
out the leaves on its left; the lowest bit that is left is the row's leaf. Larger trees are walked level by level.

Source: Lucchese et al. (2015), SIGIR, "QuickScorer".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.predictor.form import Averaged, Task, Trees
from mcp_server.core.predictor.scoring import LARGEST_SINGLE
from mcp_server.core.predictor.trees import Node, grow, grow_leaves

FloatArray = NDArray[np.float64]

_CHUNK = 8_192  # rows: a chunk's columns stay in the processor's cache
_BITS = 32
_ALL = np.uint32(0xFFFFFFFF)
# Multiplied with a single bit, the highest five bits tell which one it is (a de Bruijn sequence).
_SEQUENCE = np.uint32(0x077CB531)
_SHIFT = np.uint32(27)
_PLACE = [int((np.uint64(0x077CB531) << np.uint64(bit)) & np.uint64(0xFFFFFFFF)) >> 27 for bit in range(_BITS)]


class _SmallTree:
    """A tree of at most 32 leaves, as questions to all rows."""

    def __init__(self, root: Node) -> None:
        self._leaves = np.zeros(_BITS)
        self._nodes: list[tuple[int, float, np.uint32, bool]] = []
        self._count = 0
        self._read(root)

    def _read(self, node: Node) -> int:
        """Number the leaves from left to right; returns the bits of those below the node."""
        feature, threshold, left, right, missing = node
        if left is None:
            self._leaves[_PLACE[self._count]] = threshold
            self._count += 1
            return 1 << (self._count - 1)
        on_left = self._read(left)
        self._nodes.append((feature, threshold, np.uint32(0xFFFFFFFF ^ on_left), missing is right))
        return on_left | self._read(right)

    def leaves(self, columns: FloatArray) -> FloatArray:
        """The value of each row's leaf, shape (n,), for columns of shape (width, n)."""
        alive = np.full(columns.shape[1], _ALL)
        for feature, threshold, kept, missing_right in self._nodes:
            # NaN is neither above nor at or below: each of the two questions sends it to one side.
            right = ~(columns[feature] <= threshold) if missing_right else columns[feature] > threshold
            alive &= kept | (right.astype(np.uint32) - np.uint32(1))
        lowest = alive & (~alive + np.uint32(1))
        result: FloatArray = self._leaves[(lowest * _SEQUENCE) >> _SHIFT]
        return result


class _LargeTree:
    """The nodes of a tree as arrays; a leaf is its own child, so extra levels leave a row where it is."""

    def __init__(self, root: Node) -> None:
        feature: list[int] = []
        threshold: list[float] = []
        children: list[tuple[int, int, int]] = []
        level = [root]
        self._depth = -1
        while level:
            self._depth += 1
            below: list[Node] = []
            first = len(feature) + len(level)
            for node in level:
                at = len(feature)
                feature.append(max(node[0], 0))
                threshold.append(node[1])
                if node[2] is None:
                    children.append((at, at, at))
                    continue
                left = first + len(below)
                children.append((left, left + 1, left if node[4] is node[2] else left + 1))
                below += [node[2], node[3]]
            level = below
        self._feature = np.array(feature, dtype=np.int64)
        self._threshold = np.array(threshold)
        self._left, self._right, self._missing = np.array(children, dtype=np.int64).T.copy()

    def leaves(self, columns: FloatArray) -> FloatArray:
        """The value of each row's leaf, shape (n,), for columns of shape (width, n)."""
        rows = np.arange(columns.shape[1])
        node = np.zeros(len(rows), dtype=np.int64)
        for _ in range(self._depth):
            values = columns[self._feature[node], rows]
            below = np.where(values <= self._threshold[node], self._left[node], self._right[node])
            node = np.where(np.isnan(values), self._missing[node], below)
        result: FloatArray = self._threshold[node]
        return result


class Forest:
    """The trees of a checked estimator.

    Args:
        estimator: of a serving form.
        width: the number of columns of the matrix.
    Raises:
        CorruptArtefact: a tree is malformed.
    """

    def __init__(self, estimator: Trees, width: int) -> None:
        roots = grow(estimator.trees, width=width, outputs=len(estimator.base))
        self._base = estimator.base
        self._trees = [[_tree(root) for root in row] for row in roots]

    def score(self, matrix: FloatArray) -> FloatArray:
        """Base and leaves added up in the order of the trees, shape (n, outputs), for a matrix of shape (n, width)."""
        outputs = np.empty((len(matrix), len(self._base)))
        for start in range(0, len(matrix), _CHUNK):
            columns = np.ascontiguousarray(matrix[start : start + _CHUNK].T)
            for at, (base, trees) in enumerate(zip(self._base, self._trees, strict=True)):
                total = np.full(columns.shape[1], base)
                for tree in trees:
                    total += tree.leaves(columns)
                outputs[start : start + _CHUNK, at] = total
        return outputs


class AveragedForest:
    """The trees of a checked estimator whose leaves are averaged.

    Args:
        estimator, task: of a serving form.
        width: the number of columns of the matrix.
    Raises:
        CorruptArtefact: a tree is malformed.
    """

    def __init__(self, estimator: Averaged, width: int, task: Task) -> None:
        roots = grow_leaves(estimator.trees, width=width, leaves=len(estimator.leaves))
        self._trees = [_tree(root) for (root,) in roots]
        self._leaves = np.array(estimator.leaves)
        self._floor = estimator.floor
        self._single = estimator.single
        self._task = task

    def score(self, matrix: FloatArray) -> FloatArray:
        """The outputs, shape (n, outputs), for a matrix of shape (n, width)."""
        return outputs_of_means(self.means(matrix), self._floor, self._task)

    def asked(self, matrix: FloatArray) -> FloatArray:
        """The numbers that thresholds are compared with."""
        return in_single(matrix) if self._single else matrix

    def means(self, matrix: FloatArray) -> FloatArray:
        """The averaged leaves, shape (n, outputs), of which the outputs are made."""
        means = np.empty((len(matrix), self._leaves.shape[1]))
        for start in range(0, len(matrix), _CHUNK):
            columns = np.ascontiguousarray(self.asked(matrix[start : start + _CHUNK]).T)
            total = np.zeros((columns.shape[1], means.shape[1]))
            for tree in self._trees:
                total += self._leaves[tree.leaves(columns).astype(np.int64)]
            means[start : start + _CHUNK] = total / len(self._trees)
        return means


def outputs_of_means(means: FloatArray, floor: float, task: Task) -> FloatArray:
    """Outputs from averaged leaves: values as they are, shares as log-odds or logarithms.

    Args:
        means: shape (n, outputs): of two classes the share of the second.
        floor: added to each share.
    """
    if task == "regression":
        return means
    if task == "binary":
        odds: FloatArray = np.log((means + floor) / (1.0 - means + floor))
        return odds
    logs: FloatArray = np.log(means + floor)
    return logs


def in_single(matrix: FloatArray) -> FloatArray:
    """Numbers rounded to single precision, the largest ones brought within its range; NaN stays."""
    return np.clip(matrix, -LARGEST_SINGLE, LARGEST_SINGLE).astype(np.float32).astype(np.float64)


def _tree(root: Node) -> _SmallTree | _LargeTree:
    count, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        if node[2] is None:
            count += 1
        else:
            waiting += [node[2], node[3]]
    return _SmallTree(root) if count <= _BITS else _LargeTree(root)
