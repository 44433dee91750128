"""The learning curve: how the loss falls with the rows that are learned from, and how far it is below it on these.

A curve that still falls at its end says that more rows would help; a gap that stays wide says that the model is too
free for them.

Source: Perlich, Provost & Simonoff (2003), JMLR 4, "Tree induction vs. logistic regression: a learning-curve analysis".
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.training.estimators import Algorithm, fit
from mcp_server.core.tuning.trials import FoldedTable, Part, suited_loss

SHARES = (0.25, 0.5, 1.0)
_FEWEST = 40  # rows to learn from, below which a point would be chance


def learning_curve(
    table: FoldedTable, algorithm: Algorithm, parameters: Mapping[str, Any], *, seed: int, threads: int = 1
) -> list[dict[str, float]]:
    """Fit to a growing share of what each fold learns from.

    Args:
        parameters: as for `fit`; the same at every point.
        seed: of the shares drawn, and of the fits.
        threads: fits at once; the result doesn't depend on it.
    Returns:
        a point for each share: rows (on average over the folds), train (the loss on these), and folds (the loss on the
        rows that the folds judge), both before calibration. A share with too few rows, or without one of the classes
        in some fold, has no point.
    """
    parts = table.parts(algorithm, parameters)
    drawn = [[_rows(part, share, seed, fold) for fold, part in enumerate(parts)] for share in SHARES]
    classes = len(table.target.classes or ())
    usable = [
        rows
        for rows in drawn
        if all(
            len(one) >= _FEWEST and (not classes or len(np.unique(part.target[one])) == classes)
            for one, part in zip(rows, parts, strict=True)
        )
    ]

    def run(given: tuple[Part, Any]) -> tuple[float, float]:
        part, rows = given
        with threadpool_limits(limits=1):
            matrix, target = part.matrix[rows], part.target[rows]
            rng = np.random.default_rng([seed, 0])
            fitted = fit(algorithm, matrix, target, task=table.target.task, parameters=parameters, rng=rng)
            return suited_loss(fitted, matrix, target), suited_loss(fitted, part.judged, part.judged_target)

    pairs = [(part, one) for rows in usable for part, one in zip(parts, rows, strict=True)]
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        losses = np.array(list(pool.map(run, pairs))).reshape(len(usable), len(parts), 2)
    return [
        {"rows": round(float(np.mean([len(one) for one in rows]))), "train": float(train), "folds": float(folds)}
        for rows, (train, folds) in zip(usable, losses.mean(axis=1), strict=True)
    ]


def _rows(part: Part, share: float, seed: int, fold: int) -> Any:
    """A share of the rows, drawn; the smaller is a part of the larger."""
    order = np.random.default_rng([seed, 1, fold]).permutation(len(part.target))
    return np.sort(order[: round(share * len(order))])
