"""Batches of trials: each is told everything that earlier ones found, and nothing else.

A batch depends on its arguments alone, so that a job which was killed goes on as if nothing had happened.

Source: Bergstra et al. (2011), NeurIPS 24, for the tree-structured Parzen estimator; Akiba et al. (2019), KDD, for
Optuna, which has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import optuna
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.tuning.spaces import first_trials, space
from mcp_server.core.tuning.trials import FoldedTable, run_trial

# Trials before the sampler goes by what they found.
_DRAWN = {
    "linear": 4,
    "splines": 4,
    "extra_trees": 6,
    "boosting": 8,
    "lightgbm": 8,
}
_STATES = {
    "complete": optuna.trial.TrialState.COMPLETE,
    "pruned": optuna.trial.TrialState.PRUNED,
    "failed": optuna.trial.TrialState.FAIL,
}


def run_batch(
    table: FoldedTable,
    algorithm: Algorithm,
    history: Sequence[Mapping[str, Any]],
    *,
    size: int,
    seed: int,
    threads: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """The next trials of an algorithm.

    Args:
        history: what earlier batches of it returned, in order.
        size: trials; the very first one is of the defaults.
        seed: with the number of earlier trials it seeds the sampler.
        threads: trials at once; the result doesn't depend on it.
        stop: asked before each fold of each trial but the very first: true ends what isn't complete.
    Returns:
        trials as `run_trial` gives them, without those that were stopped.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ranges = space(algorithm, table.rows, imbalanced=table.imbalanced, rankable=table.rankable)
    sampler = optuna.samplers.TPESampler(
        seed=int(np.random.default_rng([seed, len(history)]).integers(2**31 - 1)),
        n_startup_trials=_DRAWN[algorithm],
        constant_liar=True,
    )
    study = optuna.create_study(sampler=sampler)
    for trial in history:
        study.add_trial(_frozen(trial, ranges))
    if not history:
        for told in first_trials(algorithm, ranges):
            study.enqueue_trial(told)
    asked = [study.ask(ranges).params for _ in range(size)]
    for told in asked:
        table.parts(algorithm, told)  # encoded before the threads share it

    def run(at: int) -> dict[str, Any] | None:
        first = not history and at == 0
        return run_trial(
            table,
            algorithm,
            asked[at],
            history,
            seed=[seed, 0],
            stop=(lambda: False) if first else stop,
        )

    # The limit of BLAS is the process's own: set here, no thread of the pool lifts it for another.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        return [trial for trial in pool.map(run, range(size)) if trial is not None]


def best(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The complete trial with the least mean loss, the earlier of equals; None where there's none."""
    done = [trial for trial in history if trial["state"] == "complete"]
    return min(done, key=lambda trial: float(np.mean(trial["folds"])), default=None)


def _frozen(trial: Mapping[str, Any], ranges: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    losses = trial["folds"]
    so_far = {at: float(np.mean(losses[: at + 1])) for at in range(len(losses))}
    return optuna.trial.create_trial(
        state=_STATES[trial["state"]],
        params=dict(trial["parameters"]),
        distributions=dict(ranges),
        value=so_far[len(losses) - 1] if trial["state"] == "complete" else None,
        intermediate_values=so_far,
    )
