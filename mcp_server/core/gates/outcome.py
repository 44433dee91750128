"""What became of one gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One gate.

    Args:
        subject: the model or data set version.
        gate: stable, such as `log_loss` or `verification`.
        state: `unknown` is not a pass.
        detail: one sentence with the figures.
    """

    subject: str
    gate: str
    state: State
    detail: str
