"""What is odd about a row: said beside the answer, never repaired in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcp_server.core.labels import label

FlagKind = Literal["out_of_range", "unseen_category", "missing", "suspected_unit", "unexpected_column", "wrong_type"]

UNIT_FACTORS: tuple[tuple[float, str], ...] = (
    (2.54, "centimetres and inches"),
    (0.4536, "kilograms and pounds"),
    (3.28, "metres and feet"),
    (1.609, "kilometres and miles"),
    (10.0, "a power of ten"),
    (100.0, "a share and per cent, or metres and centimetres"),
    (1000.0, "thousands, or kilo and base units"),
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One oddity of one column.

    Args:
        column: its name.
        kind: `out_of_range`, `unseen_category`, `missing` or `suspected_unit` beside an answer; `unexpected_column`
            and `wrong_type` name the reason of a refusal.
        detail: one sentence, at most about 200 characters.
    """

    column: str
    kind: FlagKind
    detail: str


def out_of_range(column: str, value: float, minimum: float, maximum: float, unit: str | None) -> Flag:
    """The flag of a number outside what training saw; `value` is not inside `[minimum, maximum]`."""
    side = "below" if value < minimum else "above"
    suffix = f" {label(unit, 40)}" if unit else ""
    return Flag(
        column,
        "out_of_range",
        f"{value:.6g}{suffix} is {side} what training saw, {minimum:.6g} to {maximum:.6g}.",
    )


def suspected_unit(
    column: str, value: float, *, p01: float | None, p99: float | None, median: float | None, unit: str | None
) -> Flag | None:
    """The flag of a number that would be ordinary in another unit.

    Args:
        value: outside the range of training.
        p01, p99, median: of the training rows. A number is ordinary between the two.
    Returns:
        the factor that takes the value nearest to the median, as a flag; None where no common factor makes it
        ordinary. A factor is tried both ways; 0, what is 0 or 1, and columns on both sides of 0 have no unit.
    """
    if p01 is None or p99 is None or median is None or not value or (p01 >= 0.0 and p99 <= 1.0):
        return None
    if p01 < 0.0 < p99:
        return None  # around zero every value is ordinary once it is divided
    found: list[tuple[float, str, str]] = []
    for factor, meaning in UNIT_FACTORS:
        for sign, candidate in (("divided", value / factor), ("multiplied", value * factor)):
            if p01 <= candidate <= p99:
                found.append((abs(candidate - median), f"{sign} by {factor:g} it would be {candidate:.6g}", meaning))
    if not found:
        return None
    _, what, meaning = min(found)
    suffix = f" in {label(unit, 40)}" if unit else ""
    return Flag(column, "suspected_unit", f"{value:.6g} may be in another unit: {what}{suffix}, as usual ({meaning}).")


def unseen_category(column: str, value: str) -> Flag:
    """The flag of a category that training didn't see; a long value isn't repeated."""
    shown = repr(label(value)) if len(value) <= 64 else f"a value of {len(value)} characters"
    return Flag(column, "unseen_category", f"{shown} wasn't among the values that training saw.")


def missing(column: str, treatment: str) -> Flag:
    """The flag of an absent or null value, with what the model makes of it."""
    return Flag(column, "missing", f"No value was given; {treatment}.")
