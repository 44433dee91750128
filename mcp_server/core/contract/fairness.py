"""What a contract asks of models that learn from its table: how far their rates may differ between groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

RateName = Literal[
    "selection_rate",
    "false_positive_rate",
    "false_negative_rate",
    "error_rate",
    "calibration_gap",
    "calibration_error",
    "mean_error",
    "mean_absolute_error",
]
"""What can be limited; `core.fairness.rates_of` says what each is."""

SHARES = frozenset({"base_rate", "selection_rate", "false_positive_rate", "false_negative_rate", "error_rate"})
"""The rates that are shares of rows, so that a ratio of two means something."""

RATES: Mapping[str, frozenset[str]] = {
    "binary": frozenset(get_args(RateName)) - {"error_rate", "mean_error", "mean_absolute_error"},
    "multiclass": frozenset({"error_rate", "calibration_gap", "calibration_error"}),
    "regression": frozenset({"mean_error", "mean_absolute_error"}),
}
"""Task to the rates that its models have and that can be limited."""


class StatedLimit(NamedTuple):
    """One limit, as the computing process takes it; see `core.fairness.Limit`."""

    rate: str
    kind: Literal["ratio", "difference"]
    value: float


class RateLimits(BaseModel):
    """How far one rate of a group may be from that of the largest group.

    Args:
        ratio: the least ratio, and the reciprocal of the largest; of shares only. `0.8` is the four-fifths rule.
        difference: the largest difference, either way, in the rate's unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    difference: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.ratio is None and self.difference is None:
            raise ValueError("it limits nothing: give ratio or difference")
        return self

    def looser_than(self, other: RateLimits) -> bool:
        """Whether something keeps this that doesn't keep the other."""
        ratio = other.ratio is not None and (self.ratio is None or self.ratio < other.ratio)
        difference = other.difference is not None and (self.difference is None or self.difference > other.difference)
        return ratio or difference


def check_limits(limits: Mapping[RateName, RateLimits]) -> None:
    """Raises ValueError where a ratio is asked of what isn't a share."""
    for rate, limit in limits.items():
        if limit.ratio is not None and rate not in SHARES:
            raise ValueError(f"{rate} isn't a share of rows: limit its difference")


def stated_limits(limits: Mapping[RateName, RateLimits]) -> list[StatedLimit]:
    """Each limit by itself, in the order of rates.

    >>> stated_limits({"selection_rate": RateLimits(ratio=0.8)})
    [StatedLimit(rate='selection_rate', kind='ratio', value=0.8)]
    """
    found = []
    for rate, limit in sorted(limits.items()):
        if limit.ratio is not None:
            found.append(StatedLimit(rate, "ratio", limit.ratio))
        if limit.difference is not None:
            found.append(StatedLimit(rate, "difference", limit.difference))
    return found
