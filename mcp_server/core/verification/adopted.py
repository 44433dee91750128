"""A version that was adopted: whether its model may be rebuilt, and whether the serving form is what it says.

For a computing process: it loads scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from mcp_server.core.adoption.audit import audit_file
from mcp_server.core.adoption.model import for_columns
from mcp_server.core.adoption.parity import adopted_parity
from mcp_server.core.adoption.rebuild import rebuild
from mcp_server.core.contract import from_dict
from mcp_server.core.training.parity import TOLERANCE
from mcp_server.core.verification.checks import Check, not_done
from mcp_server.errors import CourtsideError


def check_adopted_file(content: bytes) -> tuple[Check, Any]:
    """Audit the model's file, and rebuild it from the same bytes.

    Returns:
        the check, and the estimator where it passed (else None).
    """
    try:
        rebuilt = rebuild(audit_file(content).root)
    except CourtsideError as error:
        return Check("training_form", "failed", error.message), None
    return Check(
        "training_form", "passed", "It is data alone, and each of its parts could be rebuilt."
    ), rebuilt.estimator


def check_adopted_parity(
    document: Mapping[str, Any], estimator: Any, frame: pl.DataFrame, *, rng: np.random.Generator
) -> Check:
    """Compare the serving form with the rebuilt model on rows of the data version and on adversarial ones.

    Args:
        document: of the version: form, contract and parameters.
        estimator: of `check_adopted_file`, or None.
        frame: rows with the form's inputs.
    """
    if estimator is None or not frame.height:
        return not_done("parity", "The model's file or the data version can't be had.")
    try:
        columns = document["parameters"]["adopted"]["columns"]
        model = for_columns(estimator, columns, from_dict(document["contract"]))
        found = adopted_parity(document["form"], model, frame, rng=rng)
    except CourtsideError as error:
        return Check("parity", "failed", error.message)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, pl.exceptions.PolarsError):
        # A model of other columns than the form's: libraries say so in their own words.
        return Check("parity", "failed", "The model doesn't fit the serving form.")
    counted = f"{found.held_out} rows, {found.adversarial} adversarial rows and {found.vectors} at thresholds"
    if not found.largest <= TOLERANCE:
        return Check("parity", "failed", f"They differ by {found.largest:.3g} on {counted}; {TOLERANCE:g} is allowed.")
    return Check("parity", "passed", f"Largest difference {found.largest:.1g} on {counted}.")
