"""Two to eight models and outside forecasts on the same rows."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.comparison import Field, Pair, compare_all
from mcp_server.core.comparison.calibration import calibration_by_chance
from mcp_server.core.comparison.friedman import friedman
from mcp_server.core.comparison.groups import groups
from mcp_server.core.comparison.many import Tested
from mcp_server.core.comparison.nemenyi import critical_distance
from mcp_server.core.comparison.slices import RowGroup, Slice, slices, worst_group
from mcp_server.core.comparison.wording import equivalence_sentence, sentence
from mcp_server.core.metrics import Task
from mcp_server.core.metrics.forecasts import row_losses
from mcp_server.core.predictor import compile_form
from mcp_server.workflows.operations import comparison_pictures
from mcp_server.workflows.operations.contestants import Contestants, UnseenRows, read_contestants, read_rows
from mcp_server.workflows.reply import six_digits

Report = Callable[[float, str], None]
FloatArray = NDArray[np.float64]

TIMED_ROWS = 200
MOST_SLICES = 8
FEWEST_SETS = 2
_DATA = "data set"


def compare(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Compare on the rows that none of the models has seen.

    Args:
        arguments: tables (each with dataset, path, contract, and held_out as `contestants.read_rows` takes it), forms
            (paths, one for each model), names (of the models and of the outside forecasts), outside (column and, of a
            data set of their own, path and contract; or null), margin (or null), picture, seed.
    Returns:
        rows, left_out, untold, recurring, verdict, sentence, equivalence, models (the best first), metrics (of the
        leading pair), pairs, slices, worst, sets (or null) and pictures (base64 PNG).
    """
    report(0.1, "Reading")
    contestants = read_contestants(arguments["forms"])
    task, names = contestants.form.task, arguments["names"]
    parts = []
    for number, table in enumerate(arguments["tables"]):
        parts.append(read_rows(table, contestants, arguments["outside"]))
        report(0.1 + 0.3 * (number + 1) / len(arguments["tables"]), "Answering")
    target = np.concatenate([part.target for part in parts])
    forecasts = [np.concatenate(one) for one in zip(*(part.forecasts for part in parts), strict=True)]
    report(0.4, "Resampling")
    rng = np.random.default_rng(arguments["seed"])
    field = compare_all(target, forecasts, task=task, rng=rng, margin=arguments["margin"])
    # Of two the first is judged by the second; of more, the best by the next.
    first, second = (0, 1) if len(names) == 2 else field.order[:2]
    lead = field.pair(first, second)
    report(0.7, "Looking into groups")
    datasets = [table["dataset"] for table in arguments["tables"]]
    outside = arguments["outside"] or {}
    # Among the data's own columns the forecasts make no groups.
    besides = frozenset({outside["column"]} if outside and "path" not in outside else ())
    grouped = _groups(parts, datasets, besides)
    sliced = slices(target, forecasts[first], forecasts[second], grouped, task=task)
    pictures = []
    if arguments["picture"]:
        report(0.85, "Drawing")
        pictures = comparison_pictures.draw(field, lead, names, target, forecasts, margin=arguments["margin"])
    found = {
        "rows": field.rows,
        "left_out": sum(part.seen for part in parts),
        "untold": sum(part.untold for part in parts),
        "recurring": sum(part.recurring for part in parts),
        "verdict": lead.verdict,
        "sentence": sentence(field, names),
        "equivalence": equivalence_sentence(lead, names),
        "lead": [names[first], names[second]],
        "models": _models(field, names, target, forecasts, arguments, contestants, parts[0].frame, rng),
        "metrics": [_metric(one) for one in lead.metrics],
        "pairs": [_pair(field.pair(*_in_order(field, pair)), names) for pair in field.pairs] if len(names) > 2 else [],
        "slices": _slices(sliced, grouped),
        "groups": {"tested": sum(not one.small for one in sliced), "small": sum(one.small for one in sliced)},
        "worst": _worst(field, names, target, forecasts, grouped, task),
        "sets": _sets(parts, datasets, names, task),
    }
    return {**six_digits(found), "pictures": [base64.b64encode(png).decode() for png in pictures]}


def _in_order(field: Field, pair: Pair) -> tuple[int, int]:
    """The better of a pair in front."""
    first, second = sorted((pair.first, pair.second), key=field.order.index)
    return first, second


def _metric(one: Tested) -> dict[str, Any]:
    found = one.found
    return {
        "metric": found.title,
        "first": found.first,
        "second": found.second,
        **_found(one),
        "p": found.p,
        "test": one.test,
        "detectable": found.detectable,
        "rows_needed": found.rows_needed,
    }


def _found(one: Tested) -> dict[str, Any]:
    found = one.found
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p_holm": one.corrected,
        "tests": one.tests,
        "verdict": found.verdict,
    }


def _pair(pair: Pair, names: Sequence[str]) -> dict[str, Any]:
    """One pair by the deciding metric, the better one first."""
    held = {} if pair.equivalence is None else {"margin": pair.equivalence.standing}
    return {"first": names[pair.first], "second": names[pair.second], **_found(pair.primary), **held}


def _models(
    field: Field,
    names: Sequence[str],
    target: FloatArray,
    forecasts: Sequence[FloatArray],
    arguments: dict[str, Any],
    contestants: Contestants,
    frame: pl.DataFrame,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Each model, the best first: its metrics with intervals, calibration and cost."""
    told = []
    for place in field.order:
        estimates = field.estimates[place]
        one: dict[str, Any] = {
            "model": names[place],
            "metrics": {
                name: {"value": found.value, "low": found.low, "high": found.high} for name, found in estimates.items()
            },
        }
        if "calibration_error" in estimates:
            _, share = comparison_pictures.event(target, forecasts[place])
            by_chance = calibration_by_chance(share, rng=rng)
            over = estimates["calibration_error"].value > by_chance
            one["calibration"] = {"by_chance": by_chance, "verdict": "miscalibrated" if over else "within chance"}
        if place < len(contestants.documents):
            document, path = contestants.documents[place], arguments["forms"][place]
            one["cost"] = {"microseconds_a_row": _speed(document, frame), "bytes": Path(path).stat().st_size}
        told.append(one)
    return told


def _groups(parts: Sequence[UnseenRows], datasets: Sequence[str], besides: frozenset[str]) -> list[RowGroup]:
    """Groups over all data sets; where there are several, each data set is one too."""
    if len(parts) == 1:
        return groups(parts[0].frame, parts[0].contract, besides=besides)
    shared = [column for column in parts[0].frame.columns if all(column in part.frame.columns for part in parts)]
    whole = pl.concat([part.frame.select(shared) for part in parts], how="vertical_relaxed")
    ends = np.cumsum([0, *(part.frame.height for part in parts)])
    place = np.searchsorted(ends, np.arange(whole.height), side="right") - 1
    sets = [RowGroup(_DATA, dataset, place == number) for number, dataset in enumerate(datasets)]
    return [*sets, *groups(whole, parts[0].contract, besides=besides)]


def _slices(found: Sequence[Slice], grouped: Sequence[RowGroup]) -> list[dict[str, Any]]:
    return [
        {
            "column": grouped[one.group].column,
            "value": grouped[one.group].value,
            "rows": one.rows,
            "small": one.small,
            "first": one.first,
            "second": one.second,
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "q": one.q,
            "verdict": one.verdict,
        }
        for one in found[:MOST_SLICES]
    ]


def _worst(
    field: Field,
    names: Sequence[str],
    target: FloatArray,
    forecasts: Sequence[FloatArray],
    grouped: Sequence[RowGroup],
    task: Task,
) -> list[dict[str, Any]]:
    """For each model the group on which it's worst, where one is found."""
    told = []
    for place in field.order:
        worst = worst_group(slices(target, forecasts[place], forecasts[place], grouped, task=task))
        if worst is not None:
            group = grouped[worst.group]
            told.append(
                {
                    "model": names[place],
                    "column": group.column,
                    "value": group.value,
                    "rows": worst.rows,
                    "metric": worst.first,
                    "excess": worst.excess,
                    "low": worst.excess_low,
                    "high": worst.excess_high,
                }
            )
    return told


def _sets(
    parts: Sequence[UnseenRows], datasets: Sequence[str], names: Sequence[str], task: Task
) -> dict[str, Any] | None:
    """Ranks over the data sets, where there are several."""
    if len(parts) < FEWEST_SETS:
        return None
    losses = np.array(
        [[float(row_losses(part.target, forecast, task=task).mean()) for forecast in part.forecasts] for part in parts]
    )
    if task == "regression":
        losses = np.sqrt(losses)
    found = friedman(losses)
    return {
        "datasets": [
            {"dataset": dataset, "rows": part.frame.height, "losses": row.tolist()}
            for dataset, part, row in zip(datasets, parts, losses, strict=True)
        ],
        "ranks": dict(zip(names, found.ranks.tolist(), strict=True)),
        "p": found.f_p,
        "p_chi_squared": found.p,
        "critical_distance": critical_distance(len(names), len(parts)),
    }


def _speed(document: dict[str, Any], frame: pl.DataFrame) -> float:
    """Microseconds a row of the compiled model, measured here."""
    predictor = compile_form(document["form"])
    sample = frame.head(TIMED_ROWS)
    known = [column for column in predictor.required if column in sample.columns]
    rows = [{k: _plain(v) for k, v in row.items()} for row in sample.select(known).to_dicts()]
    best = min(_timed(predictor, rows) for _ in range(3))
    return round(best / len(rows) * 1e6, 1)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _timed(predictor: Any, rows: list[dict[str, Any]]) -> float:
    started = time.perf_counter()
    for row in rows:
        predictor.answer(row)
    return time.perf_counter() - started
