"""The training form: whether it may be loaded, and whether the serving form is what it says.

For a computing process: it loads scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from mcp_server.core.training.parity import TOLERANCE, parity
from mcp_server.core.training.training_form import load_training_form
from mcp_server.core.verification.checks import Check, not_done
from mcp_server.errors import CourtsideError


def check_training_form(content: bytes | None) -> tuple[Check, Any]:
    """Audit the training form against the allow-list, and load it.

    Args:
        content: the skops file, or None where it can't be had.
    Returns:
        the check, and the estimator where it passed (else None).
    """
    if content is None:
        return not_done("training_form", "The training form isn't stored."), None
    try:
        estimator = load_training_form(content)
    except CourtsideError as error:
        return Check("training_form", "failed", error.message), None
    return Check("training_form", "passed", "Every type in it is on the allow-list, and it loads."), estimator


def check_parity(
    form: Mapping[str, Any], estimator: Any, frame: pl.DataFrame | None, *, rng: np.random.Generator
) -> Check:
    """Compare the serving form with its estimator on rows of the data version and on adversarial ones.

    Args:
        form: the serving form.
        estimator: of `check_training_form`, or None.
        frame: rows with the form's inputs, or None where the data version can't be had.
    """
    if estimator is None or frame is None or not frame.height:
        return not_done("parity", "The training form or the data version can't be had.")
    try:
        found = parity(form, estimator, frame, rng=rng)
    except CourtsideError as error:
        return Check("parity", "failed", error.message)
    except (ValueError, TypeError, AttributeError, IndexError):
        # An estimator of another width or kind than the form's: scikit-learn says so in its own words.
        return Check("parity", "failed", "The training form doesn't fit the serving form.")
    counted = f"{found.held_out} rows, {found.adversarial} adversarial rows and {found.vectors} vectors"
    if not found.largest <= TOLERANCE:
        return Check("parity", "failed", f"They differ by {found.largest:.3g} on {counted}; {TOLERANCE:g} is allowed.")
    return Check("parity", "passed", f"Largest difference {found.largest:.1g} on {counted}.")
