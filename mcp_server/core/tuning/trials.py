"""One set of parameters, fitted and judged fold by fold, with everything that is fitted learned anew in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.contract import Contract
from mcp_server.core.training.balance import imbalanced
from mcp_server.core.training.calibrate import fit_temperature
from mcp_server.core.training.estimators import Algorithm, Fitted, apart, fit, stopped_boosting, stopped_light
from mcp_server.core.training.outputs import averaged_outputs, row_losses, score
from mcp_server.core.training.parameters import BoostingParameters
from mcp_server.core.training.prepare import Style, default_features, prepare, style_of
from mcp_server.core.training.target import Target, target_values
from mcp_server.core.tuning.folds import Fold
from mcp_server.core.tuning.spaces import most_iterations
from mcp_server.errors import TrainingRefused

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SURE = 4  # complete trials that a fold's loss is compared with, at least
_SEEN = 2  # folds of a trial before it may be given up

STOPPED = {"boosting": stopped_boosting, "lightgbm": stopped_light}
State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Part:
    """A fold's encoded matrices and targets: what is learned from, and what judges."""

    matrix: FloatArray
    target: FloatArray
    judged: FloatArray
    judged_target: FloatArray


class FoldedTable:
    """A table as each fold sees it: the encoder of a fold is fitted on the rows that it learns from.

    Args:
        frame: the table of the contract.
        folds: of `plan_folds`.
        features, allow_leaks: as for `prepare`.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        contract: Contract,
        target: Target,
        folds: Sequence[Fold],
        *,
        features: Sequence[str] | None,
        allow_leaks: bool,
    ) -> None:
        self.folds = tuple(folds)
        self.target = target
        self.values = target_values(frame, contract, target)
        self._frame, self._contract = frame, contract
        self._features, self._allow_leaks = features, allow_leaks
        self._parts: dict[Style, list[Part]] = {}

    @property
    def outputs(self) -> int:
        return len(self.target.classes or ()) if self.target.task == "multiclass" else 1

    @property
    def rows(self) -> int:
        """That the smallest fold learns from."""
        return min(len(fold.fit) for fold in self.folds)

    @property
    def imbalanced(self) -> bool:
        """Whether a class is rare among the rows that are learned from."""
        classes = self.target.classes
        return classes is not None and imbalanced(self.values[self._learned], len(classes))

    @property
    def rankable(self) -> bool:
        """Whether a feature has three categories or more, and outcomes have an order to put them in."""
        if self.target.task == "multiclass":
            return False
        names = default_features(self._contract) if self._features is None else self._features
        kinds = {column.name: column.kind for column in self._contract.columns}
        learned = self._frame[self._learned.tolist()]
        return any(
            kinds[name] == "category" and learned[name].drop_nulls().n_unique() > 2
            for name in names
            if name in learned.columns
        )

    @property
    def _learned(self) -> IntArray:
        return np.unique(np.concatenate([fold.fit for fold in self.folds]))

    def parts(self, algorithm: Algorithm, parameters: Mapping[str, Any] | None = None) -> list[Part]:
        """Each fold as an algorithm with these parameters learns from it; encoded once."""
        style = style_of(algorithm, parameters or {})
        if style not in self._parts:
            self._parts[style] = [self._part(fold, style) for fold in self.folds]
        return self._parts[style]

    def _part(self, fold: Fold, style: Style) -> Part:
        preparation = prepare(
            self._frame,
            self._contract,
            self._features,
            rows=fold.fit,
            style=style,
            outcomes=self.values,
            allow_leaks=self._allow_leaks,
        )
        encoder = preparation.table_encoder()
        fit, judge = (encoder.encode(encoder.columns(self._frame[rows.tolist()])) for rows in (fold.fit, fold.judge))
        return Part(fit, self.values[fold.fit], judge, self.values[fold.judge])


def outputs_of(fitted: Fitted, matrix: FloatArray) -> FloatArray:
    """The outputs of a fitted estimator, as its serving form would give them, shape (n, outputs)."""
    if fitted.parameters["algorithm"] == "extra_trees":
        return averaged_outputs(fitted.estimator, matrix, 0.5 / fitted.parameters["trees"], fitted.task)
    ask = fitted.estimator.predict if fitted.task == "regression" else fitted.estimator.decision_function
    return np.asarray(ask(matrix), dtype=np.float64).reshape(len(matrix), -1)


def run_trial(
    table: FoldedTable,
    algorithm: Algorithm,
    parameters: dict[str, Any],
    history: Sequence[Mapping[str, Any]],
    *,
    seed: Sequence[int],
    stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """Judge parameters on each fold, or give up once they do worse than the middle one of the earlier trials.

    Args:
        history: earlier trials; those of the same batch aren't looked at, so that no timing decides.
        seed: the same for every trial: what differs is the parameters.
        stop: asked before each fold; ends the trial.
    Returns:
        JSON: parameters, folds (the loss on each that was fitted), iterations (of boosting, on each) and state; None
        where it was stopped.
    """
    task = table.target.task
    losses: list[float] = []
    iterations: list[int] = []
    state: State = "complete"
    with threadpool_limits(limits=1):
        for part in table.parts(algorithm, parameters):
            if stop():
                return None
            if hopeless(losses, history):
                state = "pruned"
                break
            rng = np.random.default_rng(list(seed))
            try:
                if algorithm in STOPPED:
                    own, besides = apart(parameters)
                    made, loss = STOPPED[algorithm](
                        part.matrix,
                        part.target,
                        (part.judged, part.judged_target),
                        task=task,
                        parameters=BoostingParameters(**own, iterations=most_iterations(own, table.outputs)),
                        balance=besides.get("balance", "none"),
                        rng=rng,
                    )
                    iterations.append(made)
                else:
                    fitted = fit(algorithm, part.matrix, part.target, task=task, parameters=parameters, rng=rng)
                    loss = suited_loss(fitted, part.judged, part.judged_target)
            except TrainingRefused:
                state = "failed"
                break
            losses.append(loss)
    return {"parameters": parameters, "folds": losses, "iterations": iterations, "state": state}


def suited_loss(fitted: Fitted, matrix: FloatArray, target: FloatArray) -> float:
    """The loss on rows; of averaged shares, which are far too unsure, after the temperature that suits these rows."""
    outputs = outputs_of(fitted, matrix)
    if fitted.parameters["algorithm"] == "extra_trees" and fitted.task != "regression":
        logits = outputs if outputs.shape[1] > 1 else np.column_stack([np.zeros(len(outputs)), outputs])
        outputs = outputs / fit_temperature(logits, target.astype(np.int64))
    return score(row_losses(outputs, target, fitted.task), fitted.task)


def hopeless(losses: Sequence[float], history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the mean of the losses so far is above the median of what complete trials had on the same folds.

    >>> done = [{"state": "complete", "folds": [loss, loss, loss]} for loss in (0.2, 0.3, 0.4, 0.5)]
    >>> hopeless([0.3, 0.3], done), hopeless([0.4, 0.4], done), hopeless([0.9], done)
    (False, True, False)
    """
    done = [trial["folds"] for trial in history if trial["state"] == "complete"]
    if len(losses) < _SEEN or len(done) < _SURE:
        return False
    return float(np.mean(losses)) > float(np.median([np.mean(folds[: len(losses)]) for folds in done]))
