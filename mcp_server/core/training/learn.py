"""From a table and a split to a serving form: prepare, fit, read out, calibrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.training.calibrate import calibrate
from mcp_server.core.training.estimators import BoostingParameters, Fitted, fit_boosting, fit_linear
from mcp_server.core.training.forming import to_form
from mcp_server.core.training.prepare import prepare
from mcp_server.core.training.split import Split
from mcp_server.core.training.target import Target, target_values

Algorithm = Literal["linear", "boosting"]


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained model.

    Args:
        form: the serving form, calibrated.
        fitted: the estimator that it was read from, with its parameters.
        notes: what was left out, one sentence each.
    """

    form: dict[str, Any]
    fitted: Fitted
    notes: tuple[str, ...]


def learn(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    *,
    algorithm: Algorithm,
    features: Sequence[str] | None = None,
    allow_leaks: bool = False,
    parameters: BoostingParameters | None = None,
    threads: int = 1,
    rng: np.random.Generator,
) -> Learned:
    """Train one model.

    Args:
        frame: the table of the contract, shape (n, columns).
        features: columns to learn from; None for all numbers, true/false and categories with the role feature.
        allow_leaks: whether a column that is known only after the event may be a feature.
        parameters, threads: of boosting.
    Returns:
        the same form for the same table, split and seed.
    Raises:
        LeakFound, TrainingRefused, InvalidInput: as `prepare`, `fit_linear` and `to_form`.
    """
    style: Literal["linear", "trees"] = "linear" if algorithm == "linear" else "trees"
    train = split.train
    preparation = prepare(frame, contract, features, rows=train, style=style, allow_leaks=allow_leaks)
    encoder = preparation.table_encoder()
    matrix = encoder.encode(encoder.columns(frame))
    values = target_values(frame, contract, target)
    if algorithm == "linear":
        fitted = fit_linear(matrix[train], values[train], task=target.task)
    else:
        fit, validation = split.fit, split.validation
        fitted = fit_boosting(
            matrix[fit],
            values[fit],
            task=target.task,
            validation=(matrix[validation], values[validation]) if len(validation) else None,
            parameters=parameters,
            threads=threads,
            rng=rng,
        )
    held_out = split.calibration
    form = calibrate(to_form(fitted, preparation, target), frame[held_out.tolist()], values[held_out])
    return Learned(form, fitted, preparation.notes)
