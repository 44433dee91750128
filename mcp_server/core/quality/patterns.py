"""Cells that aren't built as the others of their column are: a code cut short, a sign of another kind."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mcp_server.core.quality.number_text import holds_numbers
from mcp_server.core.quality.texts import Suspects, TextColumn

USUAL = 0.05
"""The share of the cells from which a pattern is one of the column's usual ones."""

COVERED = 0.9
"""The share that the usual patterns have together, from which the others are suspect."""

MOST_USUAL = 4
RARE = 0.02

_ONE_LENGTH = 0.93
_RECURRING = 5
_OF_THE_RARE = 0.25
_ONLY_LETTERS = 0.93


def rare_patterns(column: TextColumn) -> Iterator[Suspects]:
    """Cells whose kinds of characters come in an order that hardly any other cell has.

    First as runs (`AB-1234` is `A-9`); where all but a few cells have one length as well, by length too. In columns of
    words the order says nothing, but digits and signs among them do.
    """
    if holds_numbers(column):
        return
    exact = _pattern(column.values)
    runs = exact.str.replace_all(r"A+", "A").str.replace_all(r"a+", "a").str.replace_all(r"9+", "9")
    wordy = column.values.str.contains(r"^[\p{L}\s.'’&,()/-]*$")
    if column.share(wordy) >= _ONLY_LETTERS:
        yield from _told(column, runs, ~wordy)
        return
    rare = _rare(column, runs)
    if rare is None:
        return
    usual = _shares(column, exact).sort("share").row(-1)
    if usual[1] >= _ONE_LENGTH - column.share(rare):
        rare = rare | ((exact != usual[0]) & exact.is_in(_few(column, exact)))
    yield from _told(column, runs, rare)


def _told(column: TextColumn, runs: pl.Series, rare: pl.Series) -> Iterator[Suspects]:
    """The cells, those apart that share a pattern among themselves: a form that is rare, and probably meant."""
    if not rare.any():
        return
    counted = pl.DataFrame({"runs": runs, "count": column.counts}).filter(rare).group_by("runs").sum()
    least = max(_RECURRING, _OF_THE_RARE * float(counted.get_column("count").sum()))
    recurring = counted.filter(pl.col("count") >= least).get_column("runs").to_list()
    meant = rare & runs.is_in(recurring)
    errors = rare & ~meant
    if errors.any():
        reason = "Built of other kinds of characters than nearly all cells of the column."
        confidence = 0.9 if column.share(rare) <= RARE else 0.75
        values = dict.fromkeys(column.values.filter(errors).to_list())
        yield Suspects("patterns.rare", "warn", reason, confidence, "look at it", values)
    if meant.any():
        reason = "Built otherwise than nearly all cells of the column, but alike among themselves: perhaps meant."
        values = dict.fromkeys(column.values.filter(meant).to_list())
        yield Suspects("patterns.rare", "info", reason, 0.4, "look at it", values)


def _pattern(values: pl.Series) -> pl.Series:
    """Each text with capitals as `A`, other letters as `a`, digits as `9`; the rest stays.

    >>> _pattern(pl.Series(["AB-12x"])).to_list()
    ['AA-99a']
    """
    upper = values.str.replace_all(r"\p{Lu}", "A")
    lower = upper.str.replace_all(r"[\p{L}--A]", "a")
    return lower.str.replace_all(r"\p{Nd}", "9")


def _rare(column: TextColumn, patterns: pl.Series) -> pl.Series | None:
    """Which values have a rare pattern, or None where the column has no usual ones."""
    shares = _shares(column, patterns)
    usual = shares.filter(pl.col("share") >= USUAL)
    if usual.height > MOST_USUAL or usual.get_column("share").sum() < COVERED:
        return None
    return patterns.is_in(_few(column, patterns))


def _few(column: TextColumn, patterns: pl.Series) -> list[str]:
    found: list[str] = _shares(column, patterns).filter(pl.col("share") <= RARE).get_column("pattern").to_list()
    return found


def _shares(column: TextColumn, patterns: pl.Series) -> pl.DataFrame:
    counted = pl.DataFrame({"pattern": patterns, "share": column.counts}).group_by("pattern").sum()
    return counted.with_columns(pl.col("share") / column.total).sort("share", "pattern", descending=True)
