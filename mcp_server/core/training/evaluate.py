"""How good a trained model is on rows that it never saw, and which of its answers are kept to be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.metrics import (
    MeanLoss,
    Measure,
    binomial_band,
    calibration_by_chance,
    estimate,
    measures,
    reliability_table,
)
from mcp_server.core.predictor import Answer, compile_form
from mcp_server.core.predictor.batch import BatchAnswers, compile_batch
from mcp_server.core.training.split import Split
from mcp_server.core.training.target import Target, target_values

FloatArray = NDArray[np.float64]

GOLDEN_ROWS = 20


def evaluate(
    form: Mapping[str, Any],
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    *,
    rng: np.random.Generator,
    resamples: int = 1_000,
) -> dict[str, Any]:
    """Judge a serving form.

    Args:
        form: with its calibration.
        frame: the table of the contract; the split's test rows judge.
        split: where no rows are learned from, as of a model from elsewhere, nothing is told of them, and the constant
            forecast is made of the test rows themselves.
        resamples: for the 95 % intervals.
    Returns:
        JSON: `rows` (learned from, calibration, test), `metrics` (name to value, low, high, on the test rows; low and
        high are null where the sample is too small), `train` (name to value, on the rows learned from: the gap shows
        overfitting), `baseline` (name to value of a constant forecast, the classes' shares or the mean of the rows
        learned from, on the test rows), `base_rate` (share of the second class in the test rows, or null),
        `reliability` (bins of forecast and observed share; empty for a regression), `chance` (the calibration error
        that forecasts which come true exceed once in twenty times, or null) and `interval` (level, coverage and width
        on the test rows, the band that the coverage stays in 95 % of the time if the level is right, and whether it
        does; or null). Where an interval is answered, `pinball` is a metric: the mean loss of its two ends as
        quantiles; where errors have costs, `cost` is one: of a row on average.
    """
    predictor = compile_batch(form)
    values = target_values(frame, contract, target)
    test, train = split.test, split.train
    answers = predictor.answer(frame[test.tolist()])
    judged = values[test]
    found = measures(judged, answers.forecast, task=target.task) + _priced(form, judged, answers)
    estimates = estimate(found, rows=len(judged), rng=rng, resamples=resamples)
    seen = []
    if len(train):
        seen = measures(values[train], predictor.answer(frame[train.tolist()]).forecast, task=target.task)
    known = values[train] if len(train) else judged
    constant = measures(judged, constant_forecast(known, len(judged), target), task=target.task)
    return {
        "rows": {"train": len(train), "calibration": len(split.calibration), "test": len(test)},
        "metrics": {name: asdict(value) for name, value in estimates.items()},
        "train": {measure.name: measure.value for measure in seen},
        "baseline": {measure.name: measure.value for measure in constant},
        "base_rate": float(judged.mean()) if target.task == "binary" else None,
        "reliability": _reliability(judged, answers),
        "chance": _chance(answers, rng),
        "interval": _interval(form, judged, answers),
    }


def golden_rows(
    form: Mapping[str, Any], frame: pl.DataFrame, *, rng: np.random.Generator, count: int = GOLDEN_ROWS
) -> list[dict[str, Any]]:
    """Rows with the answers that this version gives, for replay.

    Args:
        frame: rows with the form's inputs, n >= 1, such as the test rows.
        count: at most; a fifth of them have one value taken out.
    Returns:
        JSON: `row` (inputs as a caller sends them), `value`, `probabilities` (or null) and `interval` (or null).
    """
    predictor = compile_form(form)
    given = frame.select(list(predictor.required)).filter(pl.any_horizontal(pl.all().is_not_null()))
    drawn = np.sort(rng.permutation(given.height)[:count])
    golden: list[dict[str, Any]] = []
    for index, row in enumerate(given[drawn.tolist()].to_dicts()):
        if index % 5 == 4 and sum(value is not None for value in row.values()) > 1:
            row[predictor.required[int(rng.integers(len(predictor.required)))]] = None
        if all(value is None for value in row.values()):
            continue
        sent = {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
        golden.append({"row": sent, **answer_record(predictor.answer(sent))})
    return golden


def answer_record(answer: Answer) -> dict[str, Any]:
    """An answer as JSON, without its flags."""
    return {
        "value": answer.value,
        "probabilities": answer.probabilities,
        "interval": None if answer.interval is None else list(answer.interval),
    }


def constant_forecast(learned: FloatArray, count: int, target: Target) -> FloatArray:
    """What a model without any feature forecasts of `count` rows: the classes' shares, or the mean.

    Args:
        learned: the target of the rows that are learned from.
    """
    if target.classes is None:
        return np.full(count, learned.mean())
    shares = np.bincount(learned.astype(np.int64), minlength=len(target.classes)) / len(learned)
    return np.full(count, shares[1]) if target.task == "binary" else np.tile(shares, (count, 1))


def _reliability(judged: FloatArray, answers: BatchAnswers) -> list[dict[str, Any]]:
    shares = answers.probabilities
    if shares is None:
        return []
    if shares.shape[1] == 2:
        table = reliability_table(judged == 1.0, shares[:, 1])
    else:
        table = reliability_table(answers.values == judged, shares.max(axis=1))
    return [asdict(row) for row in table]


def _interval(form: Mapping[str, Any], judged: FloatArray, answers: BatchAnswers) -> dict[str, Any] | None:
    if answers.interval is None:
        return None
    low, high = answers.interval
    level = form["interval"]["level"]
    inside = int(((judged >= low) & (judged <= high)).sum())
    fewest, most = binomial_band(len(judged), level)
    return {
        "level": level,
        "coverage": inside / len(judged),
        "low": fewest / len(judged),
        "high": most / len(judged),
        "held": fewest <= inside <= most,
        "width": float((high - low).mean()),
    }


def _chance(answers: BatchAnswers, rng: np.random.Generator) -> float | None:
    shares = answers.probabilities
    if shares is None:
        return None
    return calibration_by_chance(shares[:, 1] if shares.shape[1] == 2 else shares.max(axis=1), rng=rng)


def _priced(form: Mapping[str, Any], judged: FloatArray, answers: BatchAnswers) -> list[Measure]:
    """The metrics that need more than a forecast: an interval, or costs."""
    found: list[Measure] = []
    if answers.interval is not None:
        low, high = answers.interval
        tail = (1.0 - form["interval"]["level"]) / 2.0
        found.append(MeanLoss("pinball", (_pinball(judged, low, tail) + _pinball(judged, high, 1.0 - tail)) / 2.0))
    costs = form.get("decision")
    if costs is not None:
        wrong = (answers.values == 1.0) & (judged == 0.0), (answers.values == 0.0) & (judged == 1.0)
        found.append(MeanLoss("cost", costs["false_positive"] * wrong[0] + costs["false_negative"] * wrong[1]))
    return found


def _pinball(judged: FloatArray, quantile: FloatArray, share: float) -> FloatArray:
    return np.maximum(share * (judged - quantile), (share - 1.0) * (judged - quantile))
