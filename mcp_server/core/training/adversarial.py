"""Rows and vectors on which a compiled model and its estimator are most likely to part."""

from __future__ import annotations

from math import inf, isfinite, nextafter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.predictor.encodings import NUMERIC
from mcp_server.core.predictor.form import Averaged, Blend, Form, Input, Linear, Trees

FloatArray = NDArray[np.float64]

_BASES = 3  # ordinary rows of which one column at a time is changed
_MOST_COLUMNS = 300
_MOST_THRESHOLDS = 1_500
_INT64 = 2**63 - 1


def adversarial_rows(form: Form, frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Ordinary rows with one input changed: missing, at and far beyond the ends of its range, an unseen category.

    Args:
        form: the serving form.
        frame: ordinary rows with the form's inputs, shape (n, columns), n >= 1.
    Returns:
        rows with the columns that a caller gives, in the types of `frame`; none is all missing.
    """
    derived = {column.name for column in form.derived}
    given = [column for column in form.inputs if column.name not in derived]
    plain = frame.select([column.name for column in given])
    bases = plain[rng.permutation(plain.height)[:_BASES].tolist()].to_dicts()
    if len(given) > _MOST_COLUMNS:
        given = [given[index] for index in sorted(rng.permutation(len(given))[:_MOST_COLUMNS].tolist())]
    rows: list[dict[str, Any]] = []
    for base in bases:
        rows += [base | {column.name: odd} for column in given for odd in _odd_values(column)]
        rows.append(base | {column.name: None for column in given[1:]})
    made = pl.DataFrame(rows, schema=plain.schema, orient="row")
    return made.filter(pl.any_horizontal(pl.all().is_not_null()))


def adversarial_vectors(form: Form, matrix: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Encoded vectors around what the estimator branches on.

    Args:
        matrix: ordinary vectors, shape (n, form.width), n >= 1.
    Returns:
        shape (m, form.width). For trees: a number at a threshold and one unit in the last place on either side, zeros
        of both signs, the largest doubles, and missing values, alone and all together. For a linear form: each number
        ten ranges beyond its ends. For a blend: each of its members' so.
    """
    estimator = form.estimator
    if not isinstance(estimator, Blend):
        return _around(estimator, range(form.width), matrix, rng, _MOST_THRESHOLDS)
    most = _MOST_THRESHOLDS // len(estimator.members)
    return np.concatenate(
        [
            _around(member.estimator, range(member.start, member.start + member.width), matrix, rng, most)
            for member in estimator.members
        ]
    )


def _around(
    estimator: Linear | Trees | Averaged, columns: range, matrix: FloatArray, rng: np.random.Generator, most: int
) -> FloatArray:
    """Vectors of which only the columns of one estimator are changed."""
    ordinary = matrix[rng.integers(0, len(matrix), size=_BASES)]
    drawn = [columns[at] for at in _columns(len(columns), rng)]
    if isinstance(estimator, Linear):
        low, high = matrix.min(axis=0), matrix.max(axis=0)
        span = np.maximum(high - low, 1.0)
        far = np.stack([low - 10.0 * span, high + 10.0 * span, np.zeros(len(low)), np.full(len(low), -0.0)])
        return np.array([_with(base, at, value) for base in ordinary for at in drawn for value in far[:, at]])
    splits = sorted({(node["f"], float(node["t"])) for tree in estimator.trees for node in tree if "t" in node})
    if len(splits) > most:
        splits = [splits[index] for index in sorted(rng.permutation(len(splits))[:most].tolist())]
    made = []
    for feature, threshold in splits:
        base = ordinary[int(rng.integers(len(ordinary)))]
        around = [threshold, nextafter(threshold, -inf), nextafter(threshold, inf)]
        if isinstance(estimator, Averaged):  # which are asked in single precision
            single = np.float32(threshold)
            around = [threshold, float(single), *(float(np.nextafter(single, np.float32(end))) for end in (-inf, inf))]
        made += [_with(base, columns[feature], value) for value in around if isfinite(value)]
    largest = np.finfo(np.float64).max
    for at in drawn:
        made += [_with(ordinary[0], at, value) for value in (np.nan, 0.0, -0.0, largest, -largest, 5e-324)]
    made.append(ordinary[0].copy())
    made[-1][columns.start : columns.stop] = np.nan
    return np.array(made)


def _columns(width: int, rng: np.random.Generator) -> list[int]:
    chosen: list[int] = rng.permutation(width)[:_MOST_COLUMNS].tolist()
    return sorted(chosen)


def _with(base: FloatArray, at: int, value: float) -> FloatArray:
    changed = base.copy()
    changed[at] = value
    return changed


def _odd_values(column: Input) -> list[Any]:
    if column.kind == "boolean":
        return [None, True, False]
    if column.kind == "category":
        return [None, "", "(a value that training never saw)"]
    if column.kind not in NUMERIC or column.minimum is None or column.maximum is None:
        return [None]
    span = max(column.maximum - column.minimum, 1.0)
    values = [column.minimum, column.maximum, column.minimum - 10.0 * span, column.maximum + 10.0 * span, 0.0]
    if column.kind == "integer":
        return [None, *(max(-_INT64, min(_INT64, round(value))) for value in values)]
    return [None, *values, -0.0]
