"""Shapley values by their definition: every set of columns, every background row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np


def shapley(
    score: Callable[[np.ndarray], np.ndarray], row: np.ndarray, background: np.ndarray, players: np.ndarray
) -> np.ndarray:
    """Shape (players, outputs)."""
    count = int(players.max()) + 1

    def worth(members: tuple[int, ...]) -> np.ndarray:
        mixed = background.copy()
        taken = np.isin(players, members)
        mixed[:, taken] = row[taken]
        return score(mixed).mean(axis=0)

    known = {members: worth(members) for size in range(count + 1) for members in combinations(range(count), size)}
    found = np.zeros((count, len(known[()])))
    for player in range(count):
        for members in known:
            if player in members:
                continue
            weight = factorial(len(members)) * factorial(count - len(members) - 1) / factorial(count)
            found[player] += weight * (known[tuple(sorted((*members, player)))] - known[members])
    return found
