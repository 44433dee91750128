"""Explaining a model: one answer, what would change it, and what matters over all rows."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from mcp_server.charts import contributions as drawing
from mcp_server.charts import render
from mcp_server.charts.theme import Spec
from mcp_server.core.contract import Contract, from_dict
from mcp_server.core.explain import (
    Attribution,
    Explainer,
    Search,
    background_size,
    calibration_effect,
    given_inputs,
    movable_columns,
    permutation_importance,
    schema_of,
    sources_of,
    summary_size,
    typed_frame,
    typed_row,
)
from mcp_server.core.predictor import Answer, Form, Predictor, compile_form
from mcp_server.core.predictor.batch import BatchPredictor, compile_batch
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.judged import judged_rows, real_rows

Report = Callable[[float, str], None]
FloatArray = NDArray[np.float64]

MOST_TOLD = 12
MOST_JUDGED = 2_000
MOST_SHUFFLED = 60
MOST_CHANGED = 3
"""Rows of one call for which a change is looked for."""
SAMPLE = 2_000
MOST_FLAGS = 5
HIDDEN = "hidden"


def explain_rows(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """What moved the answers for some rows, and the nearest changes that would give others.

    Args:
        arguments: form (path), path and contract of ordinary rows, rows, unread (columns of the training table that
            the model doesn't read), personal (columns), fixed (columns), move (number or None), picture, name, seed.
    Returns:
        rows (for each: value, probability, about, base, output, contributions, rest, flags, changes, kept), background
        (rows held against), calibration (factor, shift), error (the largest), picture (PNG as base64, or None).
    Raises:
        InvalidInput: a row doesn't fit the model, or move doesn't.
        ComputeFailed: the contributions don't add up.
    """
    report(0.1, "Reading")
    document = orjson.loads(Path(arguments["form"]).read_bytes())
    predictor, batch = compile_form(document["form"]), compile_batch(document["form"])
    form = batch.form
    _check_move(form.classes, arguments["move"])
    _check_fixed(given_inputs(form), arguments["fixed"])
    rng = np.random.default_rng(arguments["seed"])
    ordinary = _drawn(real_rows(arguments), SAMPLE, rng)
    if not ordinary.height:
        raise InvalidInput("There is no real row to hold the answers against.", hint="Name a dataset with some rows.")
    background = batch.encode(ordinary.head(background_size(form)))
    answers, typed = _answers(predictor, arguments["rows"], frozenset(arguments["unread"]))
    report(0.3, "Explaining")
    found = Explainer(batch, background).explain(batch.encode(typed_frame(form, typed)))
    personal = frozenset(arguments["personal"])
    columns = batch.encoder.columns(typed_frame(form, typed))
    told = []
    for at, answer in enumerate(answers):
        one = _told(form.classes, found, at, answer)
        values = columns.row(at, named=True)
        one["contributions"] = [
            {**part, "value": _shown(batch, part["column"], values, personal)} for part in one["contributions"]
        ]
        told.append(one)
    contract = from_dict(document["contract"])
    for at, row in enumerate(typed[:MOST_CHANGED] if form.classes or arguments["move"] else []):
        report(0.5 + 0.1 * at, "Looking for the nearest change")
        told[at] |= _changes(predictor, batch, contract, ordinary, row, answers[at], arguments)
    report(0.9, "Drawing")
    return {
        "rows": told,
        "background": len(background),
        "calibration": list(calibration_effect(form)),
        "error": found.largest_error,
        "exact": found.exact,
        "picture": _png(waterfall_of(form, arguments["name"], told[0], len(background)))
        if arguments["picture"]
        else None,
    }


def explain_overall(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """What matters to a model over rows that it wasn't trained on.

    Args:
        arguments: form (path), path, contract and held_out as for `judged_rows`, picture, name, seed.
    Returns:
        rows (judged), left_out, importance (column, increase, low, high: the first of those asked), asked and telling
        (how many columns were, and can be told from noise), not_shuffled (how many weren't asked), contributions
        (column, size, direction), summarised (rows), background (rows), error, metric, picture.
    """
    report(0.1, "Reading")
    document = orjson.loads(Path(arguments["form"]).read_bytes())
    batch = compile_batch(document["form"])
    rng = np.random.default_rng(arguments["seed"])
    rows = judged_rows(arguments, document["form"], batch)
    chosen = np.sort(rng.permutation(len(rows.target))[:MOST_JUDGED])
    judged, target = rows.judged[chosen.tolist()], rows.target[chosen]
    report(0.2, "Explaining a sample")
    background = batch.encode(_drawn(rows.frame, background_size(batch.form), rng))
    sample = _drawn(judged, summary_size(batch.form), rng)
    matrix = batch.encode(sample)
    found = Explainer(batch, background).explain(matrix)
    summary = _summary(found, batch, sample)
    report(0.5, "Shuffling columns")
    columns = _to_shuffle(batch, summary)
    importance = permutation_importance(batch, judged, target, columns=columns[:MOST_SHUFFLED], rng=rng)
    told = [
        {"column": one.column, "increase": one.increase, "low": one.low, "high": one.high}
        for one in importance[:MOST_TOLD]
    ]
    telling = sum(one.low is not None and one.low > 0.0 for one in importance)
    where = f"{len(target):,} rows" + (" not learned from" if arguments["held_out"] else "")
    metric = "rmse" if batch.form.classes is None else "log_loss"
    return {
        "rows": len(target),
        "left_out": rows.left_out,
        "importance": told,
        "not_shuffled": max(0, len(columns) - MOST_SHUFFLED),
        "asked": len(importance),
        "telling": telling,
        "contributions": summary[:MOST_TOLD],
        "summarised": len(matrix),
        "background": len(background),
        "error": found.largest_error,
        "exact": found.exact,
        "metric": metric,
        "picture": _bars(arguments["name"], told, telling, len(importance), where, metric)
        if arguments["picture"]
        else None,
    }


def _drawn(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> pl.DataFrame:
    drawn: list[int] = rng.permutation(frame.height)[:count].tolist()
    return frame[drawn]


def _answers(
    predictor: Predictor, rows: Sequence[Mapping[str, Any]], unread: frozenset[str]
) -> tuple[list[Answer], list[dict[str, Any]]]:
    answers, typed = [], []
    for at, sent in enumerate(rows, start=1):
        row = {name: value for name, value in sent.items() if name not in unread}
        try:
            answers.append(predictor.answer(row))
            typed.append(typed_row(predictor.form, row))
        except InvalidInput as refused:
            where = f"Row {at}: " if len(rows) > 1 else ""
            raise InvalidInput(f"{where}{refused.message}", hint=refused.hint, details=refused.details) from None
    return answers, typed


def _told(classes: Sequence[str] | None, found: Attribution, at: int, answer: Answer) -> dict[str, Any]:
    """One row's explanation: of the log-odds of the second class, of those of the answer's class, or of the number."""
    base, values, output = found.base, found.values[at], found.outputs[at]
    about: str | None = None
    place = 0
    if classes is not None and len(classes) == 2:
        about = classes[1]
    elif classes is not None:
        about, place = str(answer.value), classes.index(str(answer.value))
        # Softmax knows outputs only by what they have over each other.
        base, values, output = base - base.mean(), values - values.mean(axis=1, keepdims=True), output - output.mean()
    moved = dict(zip(found.columns, (float(value) for value in values[:, place]), strict=True))
    order = sorted(moved, key=lambda name: -abs(moved[name]))
    shown = [name for name in order[:MOST_TOLD] if moved[name]]
    return {
        "value": answer.value,
        "probability": answer.probability,
        "about": about,
        "base": float(base[place]),
        "output": float(output[place]),
        "contributions": [{"column": name, "contribution": moved[name]} for name in shown],
        "rest": sum(moved[name] for name in order if name not in shown),
        # What is strange comes before what is merely absent.
        "flags": [
            {"kind": flag.kind, "column": flag.column}
            for flag in sorted(answer.flags, key=lambda flag: flag.kind == "missing")[:MOST_FLAGS]
        ],
    }


def _shown(batch: BatchPredictor, column: str, values: Mapping[str, Any], personal: frozenset[str]) -> Any:
    """A cell for the answer; what is personal, or computed from it, is hidden."""
    if {column, *sources_of(batch.form, column)} & personal:
        return HIDDEN
    return _plain(values.get(column))


def _changes(
    predictor: Predictor,
    batch: BatchPredictor,
    contract: Contract,
    ordinary: pl.DataFrame,
    row: dict[str, Any],
    answer: Answer,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    form = batch.form
    # What is derived follows the change of its sources.
    plain = {name: row.get(name) for name in given_inputs(form)}
    if all(value is None for value in plain.values()) or predictor.answer(plain).value != answer.value:
        return {"changes": [], "kept": {"is stated though it's computed from others": len(row) - len(plain)}}
    columns, kept = movable_columns(
        form, contract, ordinary, plain, fixed=arguments["fixed"], personal=arguments["personal"]
    )
    schema = {name: kind for name, kind in schema_of(form).items() if name in plain}
    search = Search(predictor, batch, plain, schema=schema, columns=columns, contract=contract, move=arguments["move"])
    return {
        "changes": [
            {
                "changes": [
                    {"column": change.column, "before": change.before, "after": change.after} for change in one.changes
                ],
                "distance": one.distance,
                "value": one.answer.value,
                "probability": one.answer.probability,
            }
            for one in search.find()
        ],
        "kept": dict(Counter(kept.values())),
    }


def _check_move(classes: Sequence[str] | None, move: float | None) -> None:
    if move is None:
        return
    if classes is not None:
        raise InvalidInput(
            "move is for models of numbers; this one answers classes.",
            hint="Leave it out: another class is looked for.",
        )
    if not move:
        raise InvalidInput("move is 0, which asks for no change.", hint="State an amount above or below 0.")


def _check_fixed(known: Sequence[str], fixed: Sequence[str]) -> None:
    strange = [name for name in fixed if name not in known]
    if strange:
        raise InvalidInput(
            f"{len(strange)} of the fixed columns {'is' if len(strange) == 1 else 'are'} none that the model reads.",
            hint="Name columns that a row gives; the model's card lists its features.",
        )


def _summary(found: Attribution, batch: BatchPredictor, sample: pl.DataFrame) -> list[dict[str, Any]]:
    values = found.values
    if values.shape[2] > 1:
        values = values - values.mean(axis=2, keepdims=True)
    sizes = np.abs(values).mean(axis=(0, 2))
    columns = batch.encoder.columns(sample)
    told = [
        {
            "column": name,
            "size": float(size),
            "direction": _direction(columns, name, values[:, at, 0]) if values.shape[2] == 1 else None,
        }
        for at, (name, size) in enumerate(zip(found.columns, sizes, strict=True))
    ]
    return sorted(told, key=lambda one: -float(one["size"]))


def _direction(columns: pl.DataFrame, name: str, moved: FloatArray) -> str | None:
    """Whether a larger number raises or lowers the output, where ranks say so clearly."""
    series = columns.get_column(name)
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return None
    values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(values)
    if known.sum() < 10 or np.ptp(values[known]) == 0.0 or np.ptp(moved[known]) == 0.0:
        return None
    first, second = (pl.Series(part[known]).rank().to_numpy() for part in (values, moved))
    together = float(np.corrcoef(first, second)[0, 1])
    return "raises" if together > 0.6 else "lowers" if together < -0.6 else None


def _to_shuffle(batch: BatchPredictor, summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """The given columns that the model uses, those that move it most first."""
    moved: dict[str, float] = {}
    for one in summary:
        for name in sources_of(batch.form, one["column"]):
            moved[name] = moved.get(name, 0.0) + float(one["size"])
    return sorted(moved, key=lambda name: -moved[name])


def waterfall_of(form: Form, name: str, told: Mapping[str, Any], background: int) -> Spec:
    """A drawing of one row's explanation."""
    shown = [drawing.Contribution(_said(one), one["contribution"]) for one in told["contributions"]]
    unit = "log-odds" if told["about"] is not None else "the target's unit"
    calibrated = "" if form.calibration.kind == "none" else ", before calibration"
    return drawing.waterfall(
        shown,
        rest=told["rest"],
        base=told["base"],
        output=told["output"],
        title=drawing.finding(shown, told["about"]),
        subtitle=f"{name} · exact Shapley values against {background} ordinary rows, in {unit}{calibrated}",
    )


def _png(spec: Spec) -> str:
    return base64.b64encode(render.render_png(spec)).decode()


def _said(one: Mapping[str, Any]) -> str:
    value = one["value"]
    if isinstance(value, float):
        return f"{one['column']} = {value:.4g}"
    return f"{one['column']} = {'missing' if value is None else value}"


def _bars(name: str, told: Sequence[Mapping[str, Any]], telling: int, asked: int, rows: str, metric: str) -> str:
    shown = [drawing.Bar(one["column"], one["increase"], one["low"], one["high"]) for one in told]
    unit = "log loss (nats)" if metric == "log_loss" else "RMSE"
    spec = drawing.bars(
        shown,
        title=drawing.leader(shown, telling, asked),
        subtitle=f"{name} · rise of {unit} when a column is shuffled, on {rows} · 95 % CI",
    )
    return _png(spec)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
