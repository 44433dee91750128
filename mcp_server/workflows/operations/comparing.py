"""Two models, or a model and a column of forecasts, on the same rows."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from mcp_server.charts import forest, reliability, render
from mcp_server.core.comparison import Comparison, compare_predictions
from mcp_server.core.contract import Contract, Overrides, apply_overrides, from_dict
from mcp_server.core.metrics.reliability import CalibrationError, reliability_table
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.split import synthetic_rows
from mcp_server.core.training.target import Target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import row_columns, row_digests, stored_table

Report = Callable[[float, str], None]

TIMED_ROWS = 200
MINIMUM_ROWS = 20


def compare(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Compare on the rows that were held out from every model.

    Args:
        arguments: path (Parquet), contract, forms (one or two paths), held_out (for each form: test_rows.json, the
            path of its held-out row numbers, or seen_rows.bin, that of the digests of the rows it saw), names,
            column, picture, seed.
    Returns:
        rows, left_out, verdict, sentence, metrics, cost, pictures (base64 PNG).
    """
    report(0.1, "Reading")
    frame = stored_table(arguments["path"])
    documents = [orjson.loads(Path(path).read_bytes()) for path in arguments["forms"]]
    predictors = [compile_batch(document["form"]) for document in documents]
    form = predictors[0].form
    unseen = np.logical_and.reduce(
        [
            _unseen(held_out, document["form"], frame)
            for held_out, document in zip(arguments["held_out"], documents, strict=True)
        ]
    )
    unseen &= ~synthetic_rows(frame, from_dict(arguments["contract"]))
    left_out = int(frame.height - unseen.sum())
    frame = frame.filter(pl.Series(unseen))
    column = arguments.get("column")
    if form.target not in frame.columns:
        raise InvalidInput("The data doesn't have the models' target.", hint="Compare on data with known outcomes.")
    if column is not None and (column not in frame.columns or not frame.schema[column].is_numeric()):
        raise InvalidInput(
            "The column of forecasts isn't a column of numbers in this data set.",
            hint="describe_data lists the columns; forecasts are probabilities of the positive class, or values.",
        )
    frame = frame.drop_nulls([form.target] + ([column] if column else []))
    if frame.height < MINIMUM_ROWS:
        raise InvalidInput(
            f"Only {frame.height} rows with an outcome were seen by none of the models; {MINIMUM_ROWS} are needed.",
            hint="Name a dataset with rows that none of the models was trained on.",
        )
    report(0.3, "Answering")
    contract = _contract(arguments["contract"], form.target)
    target = target_values(
        frame, contract, Target(form.target, form.task, None if form.classes is None else tuple(form.classes))
    )
    known = ~np.isnan(target)
    frame, target = frame.filter(pl.Series(known)), target[known]
    first = predictors[0].answer(frame).forecast
    if column is not None:
        second = frame.get_column(column).cast(pl.Float64).to_numpy()
        if form.classes is not None and (len(form.classes) != 2 or second.min() < 0 or second.max() > 1):
            raise InvalidInput(
                "The forecasts aren't probabilities between 0 and 1 of two classes.", hint="Name another column."
            )
        second_name = "forecasts"
    else:
        second, second_name = predictors[1].answer(frame).forecast, arguments["names"][1]
    report(0.5, "Resampling")
    comparison = compare_predictions(
        target, first, second, task=form.task, rng=np.random.default_rng(arguments["seed"])
    )
    names = (arguments["names"][0], second_name)
    pictures = []
    if arguments["picture"]:
        report(0.8, "Drawing")
        pictures.append(_forest(comparison, names))
        if form.classes is not None and len(form.classes) == 2:
            pictures.append(_reliability(target, {names[0]: first, names[1]: second}))
    return {
        "rows": frame.height,
        "left_out": left_out,
        "verdict": comparison.verdict,
        "sentence": _sentence(comparison, names),
        "metrics": [_row(difference) for difference in comparison.differences],
        "cost": _cost(arguments, documents, frame),
        "pictures": [base64.b64encode(png).decode() for png in pictures],
    }


def _contract(value: dict[str, Any], target: str) -> Contract:
    contract = from_dict(value)
    return contract if contract.target == target else apply_overrides(contract, Overrides(target=target))


def _unseen(held_out: dict[str, str], form: dict[str, Any], frame: pl.DataFrame) -> Any:
    """Which rows a model never saw, shape (n,)."""
    if "test_rows.json" in held_out:
        unseen = np.zeros(frame.height, dtype=np.bool_)
        unseen[orjson.loads(Path(held_out["test_rows.json"]).read_bytes())] = True
        return unseen
    seen = np.frombuffer(Path(held_out["seen_rows.bin"]).read_bytes(), dtype=np.uint64)
    return ~np.isin(row_digests(frame, row_columns(form)), seen)


def _row(difference: Any) -> dict[str, Any]:
    return {
        "metric": difference.title,
        "first": difference.first,
        "second": difference.second,
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "verdict": difference.verdict,
        "detectable": difference.detectable,
    }


def _sentence(comparison: Comparison, names: tuple[str, str]) -> str:
    return f"{names[0]} against {names[1]} on {comparison.rows:,} rows: {comparison.sentence}"


def _cost(arguments: dict[str, Any], documents: list[dict[str, Any]], frame: pl.DataFrame) -> dict[str, Any]:
    """Microseconds a row of the compiled model, measured here, and the bytes of its form."""
    cost = {}
    sample = frame.head(TIMED_ROWS)
    for name, path, document in zip(arguments["names"], arguments["forms"], documents, strict=True):
        predictor = compile_form(document["form"])
        known = [column for column in predictor.required if column in sample.columns]
        rows = [{k: _plain(v) for k, v in row.items()} for row in sample.select(known).to_dicts()]
        best = min(_timed(predictor, rows) for _ in range(3))
        cost[name] = {"microseconds_a_row": round(best / len(rows) * 1e6, 1), "bytes": Path(path).stat().st_size}
    return cost


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _timed(predictor: Any, rows: list[dict[str, Any]]) -> float:
    started = time.perf_counter()
    for row in rows:
        predictor.answer(row)
    return time.perf_counter() - started


def _forest(comparison: Comparison, names: tuple[str, str]) -> bytes:
    rows = [
        forest.ForestRow(
            label=row.title[:1].upper() + row.title[1:],
            reference=row.second,
            candidate=row.first,
            difference=row.difference,
            low=row.low,
            high=row.high,
            verdict=row.verdict,
        )
        for row in comparison.differences
        # One axis, one unit: R2 has none, beside errors in the target's.
        if row.metric != "r2"
    ]
    title = {
        "better": f"{names[0]} is better than {names[1]}",
        "worse": f"{names[0]} is worse than {names[1]}",
        "no detectable difference": f"No difference detected between {names[0]} and {names[1]}",
    }[comparison.verdict]
    spec = forest.forest(
        rows,
        title=title,
        subtitle=f"Paired bootstrap, {comparison.resamples:,} resamples of {comparison.rows:,} rows, "
        "signed so that right is better · bar is 95 % CI",
        reference=names[1],
        candidate=names[0],
    )
    return render.render_png(spec)


def _reliability(target: Any, forecasts: dict[str, Any]) -> bytes:
    curves = []
    for name, forecast in forecasts.items():
        happened = target == 1
        error = CalibrationError(happened, forecast).value
        points = tuple(
            reliability.CurvePoint(
                predicted=row.forecast,
                observed=row.observed,
                low=row.observed_low,
                high=row.observed_high,
                rows=row.rows,
            )
            for row in reliability_table(happened, forecast)
        )
        counts = np.histogram(forecast, bins=10, range=(0.0, 1.0))[0]
        curves.append(reliability.Curve(name, error, points, tuple(int(count) for count in counts)))
    errors = " vs ".join(f"{curve.error:.3f}" for curve in curves)
    spec = reliability.reliability(
        curves,
        title=_finding(curves),
        subtitle=f"Reliability, bins of equal rows, 95 % Wilson bands · {len(target):,} held-out rows · ECE {errors}",
    )
    return render.render_png(spec)


def _finding(curves: list[reliability.Curve]) -> str:
    """What the curves show, beyond what chance would: a point whose band leaves the diagonal out counts."""
    for curve in curves:
        over = sum(point.predicted > point.high for point in curve.points)
        under = sum(point.predicted < point.low for point in curve.points)
        # About one band in twenty leaves the truth out by chance.
        if over + under > max(1, len(curve.points) // 10):
            does = "over-predicts" if not under else "under-predicts" if not over else "misses"
            return f"{curve.name} {does} in {over + under} of {len(curve.points)} bins"
    return "Predicted and observed rates agree within their bands"
