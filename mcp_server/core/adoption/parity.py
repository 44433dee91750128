"""The gate: an adopted model's serving form answers rows as the model itself does, end to end.

Both sides are given the same rows of the data: the model through its own steps, the form through its own encoder, row
by row and as a table. Rows that the model refuses (a value that its encoder doesn't know, a missing one where it takes
none) have no answer to compare with and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nextafter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.adoption.described import refused
from mcp_server.core.adoption.model import AdoptedModel
from mcp_server.core.predictor import Predictor, read_form
from mcp_server.core.predictor.batch import BatchPredictor
from mcp_server.core.predictor.encodings import NumberEncoding
from mcp_server.core.predictor.form import Averaged, Form, Trees
from mcp_server.core.training.adversarial import adversarial_rows
from mcp_server.core.training.parity import TOLERANCE, Parity
from mcp_server.errors import InvalidInput, ParityFailed

FloatArray = NDArray[np.float64]

MOST_ROWS = 2_000
MOST_THRESHOLDS = 400
_SAFE = 2.0**62


def adopted_parity(
    form: Mapping[str, Any], model: AdoptedModel, frame: pl.DataFrame, *, rng: np.random.Generator
) -> Parity:
    """Compare a serving form with the model that it was read from.

    Args:
        form: as stored.
        model: the rebuilt model with its columns.
        frame: rows of the data, n >= 1; up to 2,000 of them are drawn.
    Returns:
        the largest difference on them, on rows with one value changed, and on rows at thresholds of trees.
    Raises:
        InvalidInput: the model answers none of the rows.
        AdoptionRefused: scikit-learn can't be asked with what the file holds.
    """
    typed = read_form(form)
    given = [column.name for column in typed.inputs]
    drawn = np.sort(rng.permutation(frame.height)[:MOST_ROWS])
    rows = frame[drawn.tolist()].select(given)
    rows = rows.filter(pl.any_horizontal(pl.all().is_not_null()))
    rows = rows.filter(pl.Series(model.answers(rows)))
    if not rows.height:
        raise InvalidInput(
            "The model answers none of the rows: each lacks a value that it needs, or has one that it doesn't know.",
            hint="Name a data set with rows like those that it was trained on.",
        )
    predictor, table = Predictor(typed), BatchPredictor(typed)
    odd = adversarial_rows(typed, rows, rng)
    near = threshold_rows(typed, rows, rng)
    with threadpool_limits(limits=1):
        gaps = {
            "rows of the data": _gap(predictor, table, model, rows),
            "adversarial rows": _gap(predictor, table, model, odd.filter(pl.Series(model.answers(odd)))),
            "rows at thresholds": _gap(predictor, table, model, near.filter(pl.Series(model.answers(near)))),
        }
    where = max(gaps, key=gaps.__getitem__)
    return Parity(gaps[where], rows.height, odd.height, near.height, where)


def require_adopted_parity(found: Parity) -> None:
    """Let only a faithful form pass. Raises ParityFailed."""
    if not found.largest <= TOLERANCE:
        raise ParityFailed(
            f"The serving form differs from the model by {found.largest:.3g} on {found.where}; {TOLERANCE:g} is "
            "allowed.",
            hint="The file wasn't adopted. Scale columns whose values are huge beside their spread and fit it again, "
            "or train_model on its data.",
            details={"largest": found.largest if isfinite(found.largest) else None, "where": found.where},
        )


def threshold_rows(form: Form, rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Rows with one number at a threshold of the form's trees and on either side of it.

    Returns:
        in the types of `rows`; none for a linear model.
    """
    if not isinstance(form.estimator, Trees | Averaged):
        return rows.head(0)
    columns: dict[int, str] = {}
    at = 0
    for encoding in form.encoder:
        if isinstance(encoding, NumberEncoding):
            columns[at] = encoding.column
        at += encoding.width
    trees = form.estimator.trees
    splits = sorted({(node["f"], float(node["t"])) for tree in trees for node in tree if "t" in node})
    splits = [one for one in splits if one[0] in columns and abs(one[1]) < _SAFE]
    if len(splits) > MOST_THRESHOLDS:
        splits = [splits[index] for index in sorted(rng.permutation(len(splits))[:MOST_THRESHOLDS].tolist())]
    kinds = {column.name: column.kind for column in form.inputs}
    bases = rows.head(3).to_dicts()
    made = []
    for number, (place, threshold) in enumerate(splits):
        name = columns[place]
        around: list[Any] = [threshold, nextafter(threshold, -inf), nextafter(threshold, inf)]
        if kinds[name] == "integer":
            around = [int(np.floor(threshold)), int(np.floor(threshold)) + 1]
        elif kinds[name] == "boolean":
            around = [False, True]
        made += [bases[number % len(bases)] | {name: value} for value in around]
    return pl.DataFrame(made, schema=rows.schema, orient="row")


def _gap(predictor: Predictor, table: BatchPredictor, model: AdoptedModel, rows: pl.DataFrame) -> float:
    if not rows.height:
        return 0.0
    try:
        expected = model.ask(rows)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):
        # scikit-learn says in its own words what it lacks.
        raise refused("scikit-learn can't be asked with what the file holds; it may be of another version.") from None
    singly = [predictor.answer(row) for row in rows.to_dicts()]
    one_by_one = np.array(
        [[one.value] if one.probabilities is None else list(one.probabilities.values()) for one in singly],
        dtype=np.float64,
    )
    answers = table.answer(rows)
    together = answers.values.reshape(-1, 1) if answers.probabilities is None else answers.probabilities
    return max(_distance(expected, one_by_one), _distance(expected, together))


def _distance(expected: FloatArray, actual: FloatArray) -> float:
    if expected.shape != actual.shape or not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        return inf
    return float((np.abs(expected - actual) / np.maximum(1.0, np.abs(expected))).max(initial=0.0))
