"""What the tree-growing algorithms are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoostingParameters:
    """What boosting is told; recorded with the model.

    Args:
        learning_rate: share of each tree that is added.
        iterations: at most this many trees for each output; fewer where validation rows say so.
        leaves: of a tree, at most.
        l2: penalty on a leaf's value.
        minimum_leaf: rows in a leaf, at least.
        max_features: share of the features that a split may look at.
    """

    learning_rate: float = 0.05
    iterations: int = 300
    leaves: int = 15
    l2: float = 1.0
    minimum_leaf: int = 20
    max_features: float = 1.0


@dataclass(frozen=True, slots=True)
class ExtraTreesParameters:
    """What extra trees are told; recorded with the model.

    Args:
        trees: how many.
        minimum_leaf: rows in a leaf, at least.
        max_features: share of the features that a split may look at.
    """

    trees: int = 200
    minimum_leaf: int = 1
    max_features: float = 0.5
