"""From a table and a split to a serving form: prepare, fit, read out, calibrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.training.calibrate import LEVEL, calibrate
from mcp_server.core.training.estimators import Algorithm, Fitted, fit, fit_boosting, fit_extra_trees
from mcp_server.core.training.forming import blend_form, to_form
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.core.training.prepare import STYLES, Preparation, Style, prepare, style_of
from mcp_server.core.training.split import Split
from mcp_server.core.training.target import Target, target_values


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained model; `estimator` is what the training form keeps, a list of several for a blend.

    Args:
        form: the serving form, calibrated.
        fitted: the estimators that it was read from, with their parameters; several make a blend.
        notes: what was left out, one sentence each.
    """

    form: dict[str, Any]
    fitted: tuple[Fitted, ...]
    notes: tuple[str, ...]

    @property
    def estimator(self) -> Any:
        return self.fitted[0].estimator if len(self.fitted) == 1 else [fitted.estimator for fitted in self.fitted]


def learn(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    *,
    algorithm: Algorithm,
    features: Sequence[str] | None = None,
    allow_leaks: bool = False,
    parameters: BoostingParameters | ExtraTreesParameters | None = None,
    threads: int = 1,
    rng: np.random.Generator,
) -> Learned:
    """Train one model.

    Args:
        frame: the table of the contract, shape (n, columns).
        features: columns to learn from; None for all numbers, true/false and categories with the role feature.
        allow_leaks: whether a column that is known only after the event may be a feature.
        parameters: of boosting or extra trees, whichever it is; None for the defaults.
        threads: of boosting.
    Returns:
        the same form for the same table, split and seed.
    Raises:
        LeakFound, TrainingRefused, InvalidInput: as `prepare`, `fit_linear` and `to_form`.
    """
    train = split.train
    preparation = prepare(frame, contract, features, rows=train, style=STYLES[algorithm], allow_leaks=allow_leaks)
    encoder = preparation.table_encoder()
    matrix = encoder.encode(encoder.columns(frame))
    values = target_values(frame, contract, target)
    if algorithm in ("linear", "splines"):
        fitted = fit(algorithm, matrix[train], values[train], task=target.task, parameters={}, rng=rng)
    elif algorithm == "extra_trees":
        told = parameters if isinstance(parameters, ExtraTreesParameters) else None
        fitted = fit_extra_trees(matrix[train], values[train], task=target.task, parameters=told, rng=rng)
    else:
        learned, validation = split.fit, split.validation
        fitted = fit_boosting(
            matrix[learned],
            values[learned],
            task=target.task,
            validation=(matrix[validation], values[validation]) if len(validation) else None,
            parameters=parameters if isinstance(parameters, BoostingParameters) else None,
            threads=threads,
            rng=rng,
        )
    held_out = split.calibration
    form = calibrate(to_form(fitted, preparation, target), frame[held_out.tolist()], values[held_out])
    return Learned(form, (fitted,), preparation.notes)


def learn_chosen(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    *,
    members: Sequence[Mapping[str, Any]],
    calibration: Mapping[str, Any],
    half_width: float | None,
    intercepts: Sequence[float] | None = None,
    features: Sequence[str] | None = None,
    allow_leaks: bool = False,
    rng: np.random.Generator,
) -> Learned:
    """Fit what tuning chose to every row that is learned from.

    Args:
        frame, contract, target, split, features, allow_leaks: as for `learn`.
        members: algorithm, parameters and weight of each; several make a blend.
        calibration, half_width: from the folds.
        intercepts: of a stack, one for each output.
    Returns:
        the same form for the same table, split, choice and seed.
    """
    train = split.train
    outcomes = target_values(frame, contract, target)
    styles = [style_of(member["algorithm"], member["parameters"]) for member in members]
    preparations: dict[Style, Preparation] = {}
    matrices = {}
    for style in dict.fromkeys(styles):
        prepared = prepare(
            frame, contract, features, rows=train, style=style, outcomes=outcomes, allow_leaks=allow_leaks
        )
        encoder = prepared.table_encoder()
        preparations[style], matrices[style] = prepared, encoder.encode(encoder.columns(frame[train.tolist()]))
    weighted = []
    for member, style, own in zip(members, styles, rng.spawn(len(members)), strict=True):
        fitted = fit(
            member["algorithm"],
            matrices[style],
            outcomes[train],
            task=target.task,
            parameters=member["parameters"],
            rng=own,
        )
        weighted.append((float(member["weight"]), fitted))
    if len(weighted) > 1:
        form = blend_form(weighted, preparations, target, intercepts=intercepts)
    else:
        form = to_form(weighted[0][1], next(iter(preparations.values())), target)
    form["calibration"] = dict(calibration)
    if half_width is not None:
        form["interval"] = {"kind": "cross_conformal", "half_width": half_width, "level": LEVEL}
    notes = tuple(dict.fromkeys(note for prepared in preparations.values() for note in prepared.notes))
    return Learned(form, tuple(fitted for _, fitted in weighted), notes)
