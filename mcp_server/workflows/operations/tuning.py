"""The computing steps of tuning: batches of trials, and the choice. Each depends on its arguments alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any

from mcp_server.core.tuning.choose import choose
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import run_batch
from mcp_server.core.tuning.trials import FoldedTable
from mcp_server.workflows.operations.fitting import CHOICE, FOLDS, TRIALS, Report, planned, stream

_MOST_THREADS = 8


def tune(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run a batch of trials.

    Args:
        arguments: path, plan, features, allow_leaks, seed, algorithm, history (its earlier trials), size, and seconds:
            what is left of the budget, or None.
    Returns:
        trials, and the seconds that they took.
    """
    began = monotonic()
    report(0.05, f"Tuning {arguments['algorithm']}, trial {len(arguments['history']) + 1}")
    left = arguments["seconds"]
    stop: Callable[[], bool] = (lambda: False) if left is None else (lambda: monotonic() - began >= left)
    trials = run_batch(
        _folded(arguments),
        arguments["algorithm"],
        arguments["history"],
        size=arguments["size"],
        seed=_seed(arguments, TRIALS),
        threads=_threads(arguments["size"]),
        stop=stop,
    )
    return {"trials": trials, "seconds": round(monotonic() - began, 3)}


def choose_model(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Choose among all that was tried.

    Args:
        arguments: path, plan, features, allow_leaks, seed, and histories: algorithm to its trials.
    Returns:
        members, calibration, half_width and account, as `core.tuning.choose`; and the seconds that it took.
    """
    began = monotonic()
    report(0.1, "Choosing and blending")
    found = choose(
        _folded(arguments), arguments["histories"], seed=_seed(arguments, CHOICE), threads=_threads(_MOST_THREADS)
    )
    return {**asdict(found), "seconds": round(monotonic() - began, 3)}


def _folded(arguments: dict[str, Any]) -> FoldedTable:
    frame, contract, target, split = planned(arguments)
    folds = plan_folds(frame, contract, target, split, rng=stream(arguments, FOLDS))
    return FoldedTable(
        frame,
        contract,
        target,
        folds,
        features=arguments["features"],
        allow_leaks=arguments["allow_leaks"],
    )


def _seed(arguments: dict[str, Any], number: int) -> int:
    return int(stream(arguments, number).integers(2**31 - 1))


def _threads(size: int) -> int:
    return max(1, min(size, os.cpu_count() or 1, _MOST_THREADS))
