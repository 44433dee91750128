"""How a piece of work ended, as JSON: a result, or an error that is safe to show."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

from mcp_server.errors import CourtsideError, from_code

log = logging.getLogger("mcp_server.jobs")

Outcome = dict[str, Any]
"""`{"result": {...}}` or `{"error": {"code", "message", "hint", "details"}}`."""


async def outcome_of(work: Awaitable[dict[str, Any]], *, what: str) -> Outcome:
    """Wait for the work and say how it ended; being cancelled isn't an end, and passes.

    Args:
        what: names the work in the log.
    """
    try:
        return {"result": await work}
    except CourtsideError as refused:
        return error_outcome(refused)
    except Exception:
        reference = uuid4().hex[:12]
        log.exception("%s failed unexpectedly, reference=%s", what, reference)
        return error_outcome(
            CourtsideError(
                "The job stopped on an unexpected error.",
                hint="The log has the details under the reference; report it if it happens again.",
                details={"reference": reference},
            )
        )


def error_outcome(error: CourtsideError) -> Outcome:
    """The outcome of work that ended with this error."""
    return {
        "error": {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details},
    }


def error_in(outcome: Outcome) -> CourtsideError | None:
    """The error that an outcome holds, rebuilt."""
    error = outcome.get("error")
    if error is None:
        return None
    return from_code(error["code"], error["message"], hint=error["hint"], details=error["details"])
