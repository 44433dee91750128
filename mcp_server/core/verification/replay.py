"""Asking a version again what it was asked when it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from mcp_server.core.predictor import Answer, compile_form
from mcp_server.core.verification.checks import Check
from mcp_server.errors import CourtsideError

TOLERANCE = 1e-12


def check_golden_rows(form: Mapping[str, Any], golden: Sequence[Mapping[str, Any]]) -> Check:
    """Whether the serving form still gives the answers that were recorded with it.

    Args:
        form: the serving form.
        golden: JSON, each `row`, `value`, `probabilities` (or null) and `interval` (or null).
    """
    if not golden:
        return Check("golden_rows", "failed", "There are no golden rows to replay.")
    try:
        predictor = compile_form(form)
    except CourtsideError as error:
        return Check("golden_rows", "failed", error.message)
    for number, record in enumerate(golden, start=1):
        row = record.get("row")
        if not isinstance(row, Mapping):
            return Check("golden_rows", "failed", f"Golden row {number} isn't a row.")
        try:
            answer = predictor.answer(row)
        except CourtsideError:
            return Check("golden_rows", "failed", f"Golden row {number} is refused.")
        if not _same(answer, record):
            return Check("golden_rows", "failed", f"Golden row {number} is answered differently.")
    return Check("golden_rows", "passed", f"All {len(golden)} golden rows are answered as recorded.")


def _same(answer: Answer, record: Mapping[str, Any]) -> bool:
    recorded = record.get("value")
    if isinstance(answer.value, str):
        shares = record.get("probabilities")
        if recorded != answer.value or not isinstance(shares, Mapping) or answer.probabilities is None:
            return False
        return shares.keys() == answer.probabilities.keys() and all(
            _near(shares[name], share) for name, share in answer.probabilities.items()
        )
    bounds = record.get("interval")
    if answer.interval is None:
        return bounds is None and _near(recorded, answer.value)
    if not isinstance(bounds, Sequence) or len(bounds) != 2:
        return False
    return _near(recorded, answer.value) and all(map(_near, bounds, answer.interval))


def _near(recorded: object, found: float) -> bool:
    number = isinstance(recorded, int | float) and not isinstance(recorded, bool)
    return number and isclose(float(recorded), found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)  # type: ignore[arg-type]
