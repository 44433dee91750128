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
from mcp_server.core.metrics import Task, log_losses
from mcp_server.core.predictor.form import MAX_MEMBERS
from mcp_server.core.training.calibrate import LEVEL, choose_calibration, conformal_half_width, relative_scales
from mcp_server.core.training.estimators import Algorithm, apart, fit
from mcp_server.core.training.outputs import score
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.core.training.split import TEST_SHARE
from mcp_server.core.tuning.blending import Combination, blend, cross_fitted
from mcp_server.core.tuning.curve import learning_curve
from mcp_server.core.tuning.folds import Fold
from mcp_server.core.tuning.search import best
from mcp_server.core.tuning.stacking import stack
from mcp_server.core.tuning.trials import FoldedTable, outputs_of
from mcp_server.errors import TrainingRefused

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COMBINATIONS = {"blend": blend, "stack": stack}
AHEAD = 1.0 + TEST_SHARE / (1.0 - TEST_SHARE)
"""Up to where an interval is to hold, of the rows learned from: as many rows after them as judge by default."""
SIMPLEST: tuple[Algorithm, ...] = ("linear", "splines")
"""Kinds that are read more easily than averaged or boosted trees, the simplest first."""
_WIDTH = 1.96  # standard errors on either side of a 95 % interval


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
        members: each with its weight; several make a blend or a stack.
        intercepts: of a stack, one for each output.
        calibration: the form's part.
        half_width: of a regression's interval, from the errors on the folds; None for classes.
        account: JSON: how it came about, for a person.
    """

    members: list[dict[str, Any]]
    intercepts: list[float] | None
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
        the simplest kind of candidate, by default before tuned, whose loss over the folds, calibrated, isn't above the
        least by more than a standard error of the paired difference; or a blend or a stack where its loss, as the
        other folds made it, is lower than any single one's by more than such an error.
    Raises:
        TrainingRefused: no trial is complete.
    """
    task = table.target.task
    candidates = _candidates(histories)
    outputs = _out_of_fold(table, candidates, seed, threads)
    target = np.concatenate([table.values[fold.judge] for fold in table.folds])
    parts = np.repeat(np.arange(len(table.folds)), [len(fold.judge) for fold in table.folds])
    rng = np.random.default_rng([seed, 1])

    # Calibration follows whatever is chosen, so everything is judged with it.
    singles = [_judged(one, target, parts, task) for one in outputs]
    means = [float(one.losses.mean()) for one in singles]
    ahead = min(range(len(candidates)), key=means.__getitem__)
    at = _simplest(candidates, singles, ahead)
    taken, judged = Combination([float(index == at) for index in range(len(candidates))]), singles[at]
    kind, together = "single", {}
    if len(candidates) > 1:
        least = means[ahead]
        # As many as a form holds, the best.
        some = sorted(sorted(range(len(candidates)), key=means.__getitem__)[:MAX_MEMBERS])
        chosen = [outputs[index] for index in some]
        for name, combine in COMBINATIONS.items():
            whole = _of_all(combine(chosen, target, task), some, len(candidates))
            # Combined by the other folds: its own rows would flatter it.
            honest = _judged(cross_fitted(chosen, target, parts, task, combine), target, parts, task)
            gain = _paired(honest.losses - singles[ahead].losses)
            several = sum(weight > 0.0 for weight in whole.weights) > 1
            together[name] = {**gain, "taken": False}
            if several and _beyond_an_error(gain) and float(honest.losses.mean()) < least:
                kind, taken, judged, least = name, whole, honest, float(honest.losses.mean())
        if kind != "single":
            together[kind]["taken"] = True

    half_width: float | None = None
    calibration: dict[str, Any] = {"kind": "none"}
    if task == "regression":
        half_width = _half_width(np.abs(target - judged.forecast), table.folds, parts)
    else:
        calibration = choose_calibration(taken(outputs), target, parts, task)[0]
    alone = [one for one, weight in zip(candidates, taken.weights, strict=True) if weight > 0.0]
    members = [
        {"algorithm": one.algorithm, "parameters": one.parameters, "weight": weight, "tuned": one.tuned}
        for one, weight in zip(candidates, taken.weights, strict=True)
        if weight > 0.0
    ]
    account = {
        "winner": members[0]["algorithm"] if kind == "single" else kind,
        "members": [_shown(one, sum(taken.weights)) for one in members],
        "rows": len(target),
        "folds": len(table.folds),
        "loss": score(judged.losses, task),
        "candidates": [
            {"name": one.name, "loss": score(found.losses, task)}
            for one, found in zip(candidates, singles, strict=True)
        ],
        **{name: together.get(name) for name in COMBINATIONS},
        "calibrations": judged.tried,
        "simpler_than": None
        if kind != "single" or at == ahead
        else {"name": candidates[ahead].name, **_paired(singles[ahead].losses - judged.losses)},
        "curve": _curve(table, members, seed, threads),
        "against": [
            {"what": one.name, **_difference(target, judged.forecast, found.forecast, task, rng)}
            for one, found in zip(candidates, singles, strict=True)
            if not one.tuned and [one] != alone
        ],
    }
    return Choice(members, taken.intercepts, calibration, half_width, account)


def _of_all(combination: Combination, some: Sequence[int], count: int) -> Combination:
    """A combination of some candidates as one of all of them, in which the others weigh nothing."""
    weights = [0.0] * count
    for index, weight in zip(some, combination.weights, strict=True):
        weights[index] = weight
    return Combination(weights, combination.intercepts)


def _simplest(candidates: Sequence[Candidate], singles: Sequence[_Judged], ahead: int) -> int:
    """The first candidate that the best of all doesn't beat beyond an error: the simplest kind first, and of each kind
    the defaults before what was tuned.

    On few rows a hair decides among many candidates, and what wins by it is as often worse on other rows; most so
    what was searched for on these very folds.

    Source:
        Breiman, Friedman, Olshen & Stone (1984), Classification and Regression Trees, section 3.4.3 (the rule of one
        standard error), here of the paired difference.
    """
    for kind in (*SIMPLEST, None):
        of_kind = [at for at, one in enumerate(candidates) if kind in (one.algorithm, None)]
        for at in sorted(of_kind, key=lambda at: (candidates[at].tuned, float(singles[at].losses.mean()))):
            if at == ahead or not _beyond_an_error(_paired(singles[ahead].losses - singles[at].losses)):
                return at
    return ahead


def _half_width(errors: FloatArray, folds: Sequence[Fold], parts: IntArray) -> float:
    fading = np.array([fold.weight for fold in folds])[parts]
    places = [fold.at for fold in folds if fold.at is not None]
    if len(places) == len(folds):
        errors = errors / relative_scales(errors, np.array(places)[parts], ahead=AHEAD)
    return conformal_half_width(errors, weights=fading, level=LEVEL)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Forecasts of the folds' rows, calibrated by the other folds, with their losses and those of each calibration."""

    forecast: FloatArray
    losses: FloatArray
    tried: dict[str, float]


def _judged(outputs: FloatArray, target: FloatArray, parts: IntArray, task: Task) -> _Judged:
    if task == "regression":
        return _Judged(outputs[:, 0], (outputs[:, 0] - target) ** 2, {})
    _, forecast, tried = choose_calibration(outputs, target, parts, task)
    return _Judged(forecast, log_losses(target.astype(np.int64), forecast), tried)


def _shown(member: Mapping[str, Any], total: float) -> dict[str, Any]:
    """A member for the account: its share of the weights, the iterations that the folds stopped boosting at, and how it
    treats rare classes and categories."""
    shown = {name: member[name] for name in ("algorithm", "tuned")}
    own, besides = apart(member["parameters"])
    stopped = {"iterations": own["iterations"]} if "iterations" in own else {}
    return {**shown, "weight": member["weight"] / total, **stopped, **besides}


def _curve(table: FoldedTable, members: Sequence[Mapping[str, Any]], seed: int, threads: int) -> dict[str, Any] | None:
    """The learning curve of the member that weighs most."""
    most = max(members, key=lambda member: float(member["weight"]))
    points = learning_curve(table, most["algorithm"], most["parameters"], seed=seed, threads=threads)
    return {"algorithm": most["algorithm"], "points": points} if len(points) > 1 else None


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
    own, besides = apart(trial["parameters"])
    if algorithm in ("linear", "splines"):
        return own | besides
    if algorithm == "extra_trees":
        return asdict(ExtraTreesParameters(**own)) | besides
    # The iterations that the folds stopped at.
    iterations = max(1, round(float(np.mean(trial["iterations"]))))
    return asdict(BoostingParameters(**own, iterations=iterations)) | besides


def _out_of_fold(table: FoldedTable, candidates: Sequence[Candidate], seed: int, threads: int) -> list[FloatArray]:
    """The outputs of each candidate for the rows that the folds judge, fold after fold."""
    for one in candidates:
        table.parts(one.algorithm, one.parameters)

    def run(pair: tuple[Candidate, int]) -> FloatArray:
        one, fold = pair
        part = table.parts(one.algorithm, one.parameters)[fold]
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


def _difference(
    target: FloatArray, ours: FloatArray, theirs: FloatArray, task: Task, rng: np.random.Generator
) -> dict[str, Any]:
    if task == "binary":
        ours, theirs = ours[:, 1], theirs[:, 1]
    found = compare_predictions(target, ours, theirs, task=task, rng=rng, resamples=1_000).primary
    return {"difference": found.difference, "low": found.low, "high": found.high, "verdict": found.verdict}


def _beyond_an_error(gain: Mapping[str, float]) -> bool:
    """Whether a mean difference is below 0 by more than its standard error, the bound that calibrations have too.

    >>> _beyond_an_error({"difference": -1.1, "low": -3.06, "high": 0.86})
    True
    """
    return gain["difference"] < -(gain["high"] - gain["difference"]) / _WIDTH


def _paired(differences: FloatArray) -> dict[str, float]:
    """The mean difference of rows' losses with its 95 % interval."""
    mean = float(differences.mean())
    half = _WIDTH * float(differences.std(ddof=1)) / len(differences) ** 0.5
    return {"difference": mean, "low": mean - half, "high": mean + half}
