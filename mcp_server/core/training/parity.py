"""The gate before a compiled model is used: it must answer as the estimator that it was read from.

How a row becomes the estimator's vector stands in the serving form alone, so both sides of the comparison share it
(the rows' way and the tables' way are compared). That it is still the one trained with, the digest and the golden
rows tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.predictor import Answer, Predictor, read_form
from mcp_server.core.predictor.batch import BatchPredictor, calibrated
from mcp_server.core.training.adversarial import adversarial_rows, adversarial_vectors
from mcp_server.core.training.outputs import estimator_outputs
from mcp_server.errors import ParityFailed

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-9
HELD_OUT = 2_000


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the serving form is from the estimator.

    Args:
        largest: difference of a probability; of a value, as a share of it where it's beyond 1.
        held_out, adversarial: rows compared, through the row by row evaluation and through tables.
        vectors: encoded vectors compared besides, at the estimator's branches.
        where: which of the three the largest difference is in.
    """

    largest: float
    held_out: int
    adversarial: int
    vectors: int
    where: str


def parity(form: Mapping[str, Any], estimator: Any, frame: pl.DataFrame, *, rng: np.random.Generator) -> Parity:
    """Compare a serving form with the estimator that it was read from.

    Args:
        form: with its calibration.
        estimator: scikit-learn's, of the training form; of a blend the list of them.
        frame: held-out rows with the form's inputs, n >= 1; up to 2,000 of them are drawn.
    Returns:
        the largest difference on held-out rows, on adversarial rows and on adversarial vectors; infinite where the
        one answers and the other doesn't.
    """
    typed = read_form(form)
    predictor, table = Predictor(typed), BatchPredictor(typed)
    derived = {column.name for column in typed.derived}
    given = [column.name for column in typed.inputs if column.name not in derived]
    drawn = np.sort(rng.permutation(frame.height)[:HELD_OUT])
    held_out = frame[drawn.tolist()].select(given)
    held_out = held_out.filter(pl.any_horizontal(pl.all().is_not_null()))
    odd = adversarial_rows(typed, held_out, rng)
    vectors = adversarial_vectors(typed, table.encode(held_out), rng)
    # scikit-learn's threads wait for each other at every tree: on a busy machine a hundred times slower than one.
    with threadpool_limits(limits=1):
        gaps = {
            "held-out rows": _row_gap(predictor, table, estimator, held_out),
            "adversarial rows": _row_gap(predictor, table, estimator, odd),
            "adversarial vectors": _gap(
                _expected(predictor, estimator, vectors),
                _stacked([predictor.answer_vector(vector) for vector in vectors.tolist()]),
            ),
        }
    where = max(gaps, key=gaps.__getitem__)
    return Parity(gaps[where], held_out.height, odd.height, len(vectors), where)


def require_parity(found: Parity, *, tolerance: float = TOLERANCE) -> None:
    """Let only a faithful form pass.

    Raises:
        ParityFailed: the largest difference isn't within the tolerance.
    """
    if not found.largest <= tolerance:
        raise ParityFailed(
            f"The serving form differs from the trained estimator by {found.largest:.3g} on {found.where}; "
            f"{tolerance:g} is allowed.",
            hint="Train again without columns whose values are huge beside their spread, such as ids.",
            details={"largest": found.largest if np.isfinite(found.largest) else None, "where": found.where},
        )


def _row_gap(predictor: Predictor, table: BatchPredictor, estimator: Any, rows: pl.DataFrame) -> float:
    expected = _expected(predictor, estimator, table.encode(rows))
    one_by_one = _stacked([predictor.answer(row) for row in rows.to_dicts()])
    answers = table.answer(rows)
    together = answers.values.reshape(-1, 1) if answers.probabilities is None else answers.probabilities
    return max(_gap(expected, one_by_one), _gap(expected, together))


def _expected(predictor: Predictor, estimator: Any, matrix: FloatArray) -> FloatArray:
    """What the estimator says, shape (n, classes) or (n, 1)."""
    form = predictor.form
    plain = form.estimator.kind in ("linear", "trees")
    if plain and form.task != "regression" and form.calibration.kind == "none":
        return np.asarray(estimator.predict_proba(matrix), dtype=np.float64)
    outputs = estimator_outputs(estimator, form.estimator, matrix, form.task)
    return outputs if form.task == "regression" else calibrated(outputs, form.calibration)


def _stacked(answers: list[Answer]) -> FloatArray:
    rows = [
        [answer.value] if answer.probabilities is None else list(answer.probabilities.values()) for answer in answers
    ]
    return np.array(rows, dtype=np.float64)


def _gap(expected: FloatArray, actual: FloatArray) -> float:
    if expected.shape != actual.shape or not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        return float("inf")
    return float((np.abs(expected - actual) / np.maximum(1.0, np.abs(expected))).max(initial=0.0))
