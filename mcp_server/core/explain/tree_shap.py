"""Exact Shapley values of trees against background rows, for a whole forest at once.

The value of a set of columns is the mean answer over the background with the row's values in those columns. A leaf is
reached in a mixed row exactly if each column on its path fits: from the row where it's in the set, from the background
row where it isn't. So against one background row a leaf is a game in which some columns must come from the row (only
the row fits), some must not (only the background fits), and the rest don't matter: its Shapley values are a ratio of
factorials of these two counts. Values of leaves, trees and background rows add up.

Source: Lundberg et al. (2020), Nature Machine Intelligence 2, for interventional values of trees; Laberge & Pequignot
(2022), arXiv:2209.15123, for the counts of the two kinds of columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.predictor.form import Averaged, Trees
from mcp_server.core.predictor.trees import Node, grow, grow_leaves

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_CELLS = 1_000_000  # of leaves by columns by background rows that are worked on at once


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf with its path: for each player on it, the questions (node, whether it's to be answered left)."""

    value: float
    path: dict[int, list[tuple[int, bool]]]


class _Questions:
    """Every branch of the forest, asked of all rows at once."""

    def __init__(self) -> None:
        self._listed: list[tuple[int, float, bool]] = []

    def add(self, feature: int, threshold: float, missing_left: bool) -> int:
        self._listed.append((feature, threshold, missing_left))
        return len(self._listed) - 1

    def settle(self) -> None:
        self._feature = np.array([one[0] for one in self._listed], dtype=np.int64)
        self._threshold = np.array([one[1] for one in self._listed])[:, None]
        self._missing = np.array([one[2] for one in self._listed], dtype=np.bool_)[:, None]

    def answers(self, nodes: IntArray, matrix: FloatArray) -> BoolArray:
        """Which rows go left at which nodes, shape (len(nodes), rows)."""
        values = matrix.T[self._feature[nodes]]
        left: BoolArray = (values <= self._threshold[nodes]) | (np.isnan(values) & self._missing[nodes])
        return left


class _Block:
    """Leaves with equally many players on their paths.

    Args:
        leaves: of one output.
    """

    def __init__(self, leaves: list[_Leaf]) -> None:
        self.depth = len(leaves[0].path)
        self._value = np.array([leaf.value for leaf in leaves])
        self._player = np.array([list(leaf.path) for leaf in leaves], dtype=np.int64)
        asked = [question for leaf in leaves for questions_of in leaf.path.values() for question in questions_of]
        self._node = np.array([node for node, _ in asked], dtype=np.int64)
        self._left = np.array([left for _, left in asked], dtype=np.bool_)[:, None]
        counts = [len(questions_of) for leaf in leaves for questions_of in leaf.path.values()]
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self._row_free, self._background_free = _weights(self.depth)

    def meet(self, questions: _Questions, background: FloatArray) -> None:
        """Ask the background, once all questions are known."""
        self._fits = self._satisfied(questions, background)

    def _satisfied(self, questions: _Questions, matrix: FloatArray) -> BoolArray:
        """Whether a row fits each player of each path, shape (leaves, depth, rows)."""
        fits = questions.answers(self._node, matrix) == self._left
        together: BoolArray = np.logical_and.reduceat(fits, self._starts, axis=0)
        return together.reshape(len(self._value), self.depth, len(matrix))

    def add_to(self, totals: FloatArray, questions: _Questions, matrix: FloatArray) -> None:
        """Add the values of these leaves for each row, means over the background, to shape (rows, players)."""
        background = self._fits.astype(np.float64)
        for at, ours, gain, loss in self._games(questions, matrix):
            shared = np.matmul(background, gain[:, :, None])[:, :, 0]
            values = np.where(ours > 0.0, gain.sum(axis=1)[:, None] - shared, -loss.sum(axis=1)[:, None])
            values *= self._value[:, None] / background.shape[2]
            totals[at] += np.bincount(self._player.ravel(), weights=values.ravel(), minlength=totals.shape[1])

    def add_each_to(self, totals: FloatArray, questions: _Questions, matrix: FloatArray) -> None:
        """Add the values of these leaves for each row against each background row, to shape (rows, players, m)."""
        rows = self._fits.shape[2]
        cell = (self._player[:, :, None] * rows + np.arange(rows)).ravel()
        for at, ours, gain, loss in self._games(questions, matrix):
            values = np.where(ours[:, :, None] > 0.0, gain[:, None, :] * ~self._fits, -loss[:, None, :])
            values *= self._value[:, None, None]
            added = np.bincount(cell, weights=values.ravel(), minlength=totals.shape[1] * rows)
            totals[at] += added.reshape(-1, rows)

    def _games(
        self, questions: _Questions, matrix: FloatArray
    ) -> Iterator[tuple[int, FloatArray, FloatArray, FloatArray]]:
        """For each row: its number, which players fit it (leaves, depth), and what a player that only the row fits
        gains and one that only the background row fits loses, both (leaves, m)."""
        background = self._fits.astype(np.float64)
        theirs = background.sum(axis=1)
        fits = self._satisfied(questions, matrix)
        for at in range(len(matrix)):
            ours = fits[:, :, at].astype(np.float64)
            both = np.matmul(ours[:, None, :], background)[:, 0, :]
            only_row = (ours.sum(axis=1)[:, None] - both).astype(np.int64)
            only_background = (theirs - both).astype(np.int64)
            # A player that neither fits keeps the leaf out of reach, whoever is in the set.
            reached = only_row + only_background + both == self.depth
            key = only_row * (self.depth + 1) + only_background
            gain = np.where(reached, self._row_free[key], 0.0)
            loss = np.where(reached, self._background_free[key], 0.0)
            yield at, ours, gain, loss


class TreeShapley:
    """Shapley values of a forest. Immutable.

    Args:
        estimator: of a checked serving form; of averaged trees the values are those of the averages themselves.
        players: shape (width,): the player that each column of the matrix belongs to.
        count: of players.
        background: shape (m, width), m >= 1, as the trees are asked; NaN where a value is missing.
    Raises:
        CorruptArtefact: a tree is malformed.
    """

    def __init__(self, estimator: Trees | Averaged, players: IntArray, count: int, background: FloatArray) -> None:
        self._players = count
        self._rows = len(background)
        self._questions = _Questions()
        # Leaf by leaf: as objects, those of a large forest would take more memory than all that follows.
        self._blocks = [list(_blocks(leaves, self._rows)) for leaves in _leaves_of(estimator, players, self._questions)]
        self._questions.settle()
        for blocks in self._blocks:
            for block in blocks:
                block.meet(self._questions, background)

    def values(self, matrix: FloatArray) -> FloatArray:
        """How much each player moves each output from its mean over the background, shape (n, players, outputs).

        Args:
            matrix: shape (n, width).
        """
        found = np.zeros((len(matrix), self._players, len(self._blocks)))
        for output, blocks in enumerate(self._blocks):
            totals = np.zeros((len(matrix), self._players))
            for block in blocks:
                block.add_to(totals, self._questions, matrix)
            found[:, :, output] = totals
        return found

    def values_each(self, matrix: FloatArray) -> FloatArray:
        """The same against each background row by itself, shape (n, m, players, outputs)."""
        found = np.zeros((len(matrix), self._rows, self._players, len(self._blocks)))
        for output, blocks in enumerate(self._blocks):
            totals = np.zeros((len(matrix), self._players, self._rows))
            for block in blocks:
                block.add_each_to(totals, self._questions, matrix)
            found[:, :, :, output] = totals.transpose(0, 2, 1)
        return found


def path_columns(estimator: Trees | Averaged, width: int) -> int:
    """How many columns all paths to leaves have together, which is what an explanation's time grows with."""
    total = 0
    outputs = 1 if isinstance(estimator, Averaged) else len(estimator.base)
    for row in grow(estimator.trees, width=width, outputs=outputs):
        waiting: list[tuple[Node, frozenset[int]]] = [(root, frozenset()) for root in row]
        while waiting:
            (feature, _, left, right, _), above = waiting.pop()
            if left is None:
                total += len(above)
                continue
            waiting += [(left, above | {feature}), (right, above | {feature})]
    # Averaged trees have one set of paths for all outputs, each of which is worked on.
    return total * (len(estimator.leaves[0]) if isinstance(estimator, Averaged) else 1)


def _leaves_of(estimator: Trees | Averaged, players: IntArray, questions: _Questions) -> Iterator[Iterable[_Leaf]]:
    """The leaves of each output."""
    if isinstance(estimator, Trees):
        for roots in grow(estimator.trees, width=len(players), outputs=len(estimator.base)):
            yield (leaf for root in roots for leaf in _leaves(root, players, questions))
        return
    grown = grow_leaves(estimator.trees, width=len(players), leaves=len(estimator.leaves))
    numbered = [leaf for (root,) in grown for leaf in _leaves(root, players, questions)]
    for values in (np.array(estimator.leaves) / len(grown)).T.tolist():
        yield (_Leaf(values[int(leaf.value)], leaf.path) for leaf in numbered)


def _leaves(root: Node, players: IntArray, questions: _Questions) -> Iterator[_Leaf]:
    waiting: list[tuple[Node, tuple[tuple[int, int, bool], ...]]] = [(root, ())]
    while waiting:
        (feature, threshold, left, right, missing), above = waiting.pop()
        if left is None:
            path: dict[int, list[tuple[int, bool]]] = {}
            for player, node, goes_left in above:
                path.setdefault(player, []).append((node, goes_left))
            yield _Leaf(threshold, path)
            continue
        node = questions.add(feature, threshold, missing is left)
        player = int(players[feature])
        waiting += [(left, (*above, (player, node, True))), (right, (*above, (player, node, False)))]


def _blocks(leaves: Iterable[_Leaf], background: int) -> Iterator[_Block]:
    by_depth: dict[int, list[_Leaf]] = {}
    for leaf in leaves:
        depth = len(leaf.path)
        # A tree of one leaf, and a leaf of value 0, move nothing.
        if not depth or not leaf.value:
            continue
        alike = by_depth.setdefault(depth, [])
        alike.append(leaf)
        if len(alike) * depth * background >= _CELLS:
            yield _Block(by_depth.pop(depth))
    yield from (_Block(alike) for _, alike in sorted(by_depth.items()))


def _weights(depth: int) -> tuple[FloatArray, FloatArray]:
    """What a leaf of value 1 gives to a player, by a * (depth + 1) + b: a players need the row, b the background.

    Returns:
        for one of the a: (a - 1)! b! / (a + b)!; for one of the b: a! (b - 1)! / (a + b)!, to be subtracted.
    """
    row_free = np.zeros((depth + 1, depth + 1))
    for a in range(1, depth + 1):
        for b in range(depth + 1 - a):
            row_free[a, b] = 1.0 / (a * comb(a + b, a))
    return row_free.ravel(), row_free.T.ravel().copy()
