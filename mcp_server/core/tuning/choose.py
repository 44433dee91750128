"""From trials to a model: what each algorithm does at its best, alone and together, on rows that it didn't learn from.

Everything is decided on the folds of the training rows; the rows that judge the model in the end are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.comparison import compare_predictions
from mcp_server.core.metrics import log_losses
from mcp_server.core.training.calibrate import LEVEL, choose_calibration, conformal_half_width
from mcp_server.core.training.estimators import Algorithm, BoostingParameters, ExtraTreesParameters, fit
from mcp_server.core.training.outputs import row_losses, score
from mcp_server.core.tuning.blending import blend_weights, blended, cross_fitted
from mcp_server.core.tuning.search import best
from mcp_server.core.tuning.trials import FoldedTable, outputs_of
from mcp_server.errors import TrainingRefused

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An algorithm with all that it's told, and whether tuning or the defaults said so."""

    algorithm: Algorithm
    parameters: dict[str, Any]
    tuned: bool

    @property
    def name(self) -> str:
        return f"{self.algorithm} {'tuned' if self.tuned else 'by default'}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be fitted to all rows that are learned from.

    Args:
        members: each with its weight; several make a blend.
        calibration: the form's part.
        half_width: of a regression's interval, from the errors on the folds; None for classes.
        account: JSON: how it came about, for a person.
    """

    members: list[dict[str, Any]]
    calibration: dict[str, Any]
    half_width: float | None
    account: dict[str, Any]


def choose(
    table: FoldedTable, histories: Mapping[Algorithm, Sequence[Mapping[str, Any]]], *, seed: int, threads: int = 1
) -> Choice:
    """Choose the model.

    Args:
        table: as it was tuned on.
        histories: the trials of each algorithm; the first of them is of the defaults.
        seed: of the fits and of the intervals.
        threads: fits at once; the result doesn't depend on it.
    Returns:
        the best candidate by its loss over the folds; or a blend where its loss, with weights that other folds chose,
        is lower and the interval of the difference leaves 0 out.
    Raises:
        TrainingRefused: no trial is complete.
    """
    task = table.target.task
    candidates = _candidates(histories)
    outputs = _out_of_fold(table, candidates, seed, threads)
    target = np.concatenate([table.values[fold.judge] for fold in table.folds])
    parts = np.repeat(np.arange(len(table.folds)), [len(fold.judge) for fold in table.folds])
    rng = np.random.default_rng([seed, 1])

    losses = [row_losses(one, target, task) for one in outputs]
    at = min(range(len(candidates)), key=lambda index: float(losses[index].mean()))
    weights = [float(index == at) for index in range(len(candidates))]
    honest, made, blend = outputs[at], outputs[at], None
    if len(candidates) > 1:
        together = cross_fitted(outputs, target, parts, task)
        gain = _paired(row_losses(together, target, task) - losses[at])
        found = blend_weights(outputs, target, task)
        better = gain["high"] < 0.0 and sum(weight > 0.0 for weight in found) > 1
        blend = {**gain, "taken": better}
        if better:
            weights, honest, made = found, together, blended(outputs, found)

    half_width: float | None = None
    tried: dict[str, float] = {}
    calibration: dict[str, Any] = {"kind": "none"}
    forecast = honest[:, 0] if task == "regression" else _shares(honest)
    if task == "regression":
        half_width = conformal_half_width(np.abs(target - honest[:, 0]), level=LEVEL)
    else:
        calibration, forecast, tried = choose_calibration(made, target, parts, task)
        if blend is not None and blend["taken"]:
            # The weights of the blend were chosen with these rows: its forecasts are judged without.
            forecast = choose_calibration(honest, target, parts, task)[1]
    taken = [one for one, weight in zip(candidates, weights, strict=True) if weight > 0.0]
    members = [
        {"algorithm": one.algorithm, "parameters": one.parameters, "weight": weight, "tuned": one.tuned}
        for one, weight in zip(candidates, weights, strict=True)
        if weight > 0.0
    ]
    account = {
        "winner": "blend" if len(members) > 1 else members[0]["algorithm"],
        "members": [{name: one[name] for name in ("algorithm", "weight", "tuned")} for one in members],
        "rows": len(target),
        "folds": len(table.folds),
        "loss": score(_losses(forecast, target, task), task),
        "candidates": [
            {"name": one.name, "loss": score(rows, task)} for one, rows in zip(candidates, losses, strict=True)
        ],
        "blend": blend,
        "calibrations": tried,
        "against": [
            {"what": one.name, **_difference(target, forecast, other, task, rng)}
            for one, other in zip(candidates, outputs, strict=True)
            if not one.tuned and [one] != taken
        ],
    }
    return Choice(members, calibration, half_width, account)


def _candidates(histories: Mapping[Algorithm, Sequence[Mapping[str, Any]]]) -> list[Candidate]:
    """Of each algorithm the defaults and, where another did better, the best."""
    found = []
    for algorithm, history in histories.items():
        complete = best(history)
        if complete is None:
            continue
        first = history[0]
        if first["state"] == "complete":
            found.append(Candidate(algorithm, _told(algorithm, first), tuned=False))
        if complete is not first:
            found.append(Candidate(algorithm, _told(algorithm, complete), tuned=True))
    if not found:
        raise TrainingRefused(
            "No trial could be completed.",
            hint="Check the data with validate_data, or call train_model without seconds and trials.",
        )
    return found


def _told(algorithm: Algorithm, trial: Mapping[str, Any]) -> dict[str, Any]:
    if algorithm == "linear":
        return dict(trial["parameters"])
    if algorithm == "extra_trees":
        return asdict(ExtraTreesParameters(**trial["parameters"]))
    # The iterations that the folds stopped at.
    return asdict(BoostingParameters(**trial["parameters"], iterations=max(1, round(np.mean(trial["iterations"])))))


def _out_of_fold(table: FoldedTable, candidates: Sequence[Candidate], seed: int, threads: int) -> list[FloatArray]:
    """The outputs of each candidate for the rows that the folds judge, fold after fold."""
    for one in candidates:
        table.parts(one.algorithm)

    def run(pair: tuple[Candidate, int]) -> FloatArray:
        one, fold = pair
        part = table.parts(one.algorithm)[fold]
        with threadpool_limits(limits=1):
            fitted = fit(
                one.algorithm,
                part.matrix,
                part.target,
                task=table.target.task,
                parameters=one.parameters,
                rng=np.random.default_rng([seed, 0]),
            )
            return outputs_of(fitted, part.judged)

    pairs = [(one, fold) for one in candidates for fold in range(len(table.folds))]
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        made = list(pool.map(run, pairs))
    count = len(table.folds)
    return [np.concatenate(made[at * count : (at + 1) * count]) for at in range(len(candidates))]


def _shares(outputs: FloatArray) -> FloatArray:
    """Uncalibrated probabilities of each class."""
    logits = np.column_stack([np.zeros(len(outputs)), outputs]) if outputs.shape[1] == 1 else outputs
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _losses(forecast: FloatArray, target: FloatArray, task: str) -> FloatArray:
    if task == "regression":
        squares: FloatArray = (forecast - target) ** 2
        return squares
    return log_losses(target.astype(np.int64), forecast)


def _difference(
    target: FloatArray, ours: FloatArray, outputs: FloatArray, task: Any, rng: np.random.Generator
) -> dict[str, Any]:
    theirs = outputs[:, 0] if task == "regression" else _shares(outputs)
    if task == "binary":
        ours, theirs = ours[:, 1], theirs[:, 1]
    found = compare_predictions(target, ours, theirs, task=task, rng=rng, resamples=1_000).primary
    return {"difference": found.difference, "low": found.low, "high": found.high, "verdict": found.verdict}


def _paired(differences: FloatArray) -> dict[str, float]:
    """The mean difference of rows' losses with its 95 % interval."""
    mean = float(differences.mean())
    half = 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5
    return {"difference": mean, "low": mean - half, "high": mean + half}
