"""Missing values in disguise: words and numbers that stand for no value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import MAX_EXAMPLES, Example, Finding, rows_of
from mcp_server.core.quality.texts import Suspects, TextColumn

CERTAIN = frozenset(
    {
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        "?",
        "??",
        "???",
        ".",
        "..",
        "...",
        "…",
        "_",
        "*",
        "n/a",
        "#n/a",
        "n.a.",
        "n.a",
        "<na>",
        "nan",
        "null",
        "<null>",
        "(null)",
        "#null!",
        "#value!",
        "#ref!",
        "nil",
        "not available",
        "not applicable",
        "not known",
        "not provided",
        "not specified",
        "unspecified",
        "no data",
        "unknown",
        "(unknown)",
        "<unknown>",
        "unk",
        "undefined",
        "missing",
        "<missing>",
        "(missing)",
        "(blank)",
        "blank",
        "(empty)",
        "tbd",
        "tba",
    }
)
"""Words that stand for a missing value whatever the column, without regard to case and outer spaces."""

DOUBTFUL = frozenset(("na", "none", "no value", "empty", "x", "xx", "xxx"))
"""Words that mean something in some columns (a country's code, a choice): suspect only where they're rare."""

SENTINELS = (-1.0, 99.0, -9.0, -99.0, *(sign * float("9" * digits) for digits in range(3, 11) for sign in (1, -1)))
"""Numbers that stand for a missing value where they're clearly apart from the others."""

_NO_WORD = r"^(?:[^\p{L}\p{N}]+|x{2,}|not [\p{L}.]+|no (?:data|value|information|info))$"
"""Signs only, crosses, or a phrase such as "not recorded": suspect only where they're rare."""

_RARE = 0.05
_MOST = 0.5
_LEAST = 2
_LEAST_VALUES = 10


def disguised_words(column: TextColumn) -> Iterator[Suspects]:
    """Cells that are blank or hold a word for "missing"."""
    plain = column.values.str.strip_chars().str.to_lowercase()
    certain = plain.is_in(list(CERTAIN))
    words = column.values.filter(certain)
    doubtful = (plain.is_in(list(DOUBTFUL)) | plain.str.contains(_NO_WORD)) & ~certain
    # A code such as NA among other codes of its length is one of them.
    codes = column.values.str.contains(r"^[A-Za-z]{1,3}$") & ~doubtful
    if doubtful.any() and column.share(codes) < 0.5 and column.share(doubtful) <= _RARE:
        words = words.append(column.values.filter(doubtful))
    if words.len() and words.len() < column.values.len():
        reason = "A word or sign that stands for a missing value, or nothing but spaces."
        replacements = dict.fromkeys(words.to_list())
        yield Suspects("missing.disguised", "warn", reason, 0.95, "read as missing", replacements)


def sentinel_findings(columns: list[NumberColumn], personal: frozenset[str]) -> Iterator[Finding]:
    """Repeated numbers such as −1 or 999 that lie clearly apart from all others of their column.

    Args:
        personal: columns whose values aren't shown.
    """
    for column in columns:
        rows = sentinels(column.values)
        if not rows.any():
            continue
        found = rows_of(rows)
        shown = [] if column.name in personal else found[:MAX_EXAMPLES]
        yield Finding(
            "missing.sentinel",
            "warn",
            (column.name,),
            len(found),
            found,
            "A repeated number that often stands for a missing value, clearly apart from all others of the column.",
            confidence=0.85,
            fix="read as missing",
            examples=tuple(Example(row, f"{column.values[row - 1]:g}") for row in shown),
        )


def sentinels(values: Floats) -> Bools:
    """The rows that hold a sentinel.

    Args:
        values: shape (n,), NaN where missing.

    >>> sentinels(np.array([*range(20, 60), 999.0, 999.0])).sum()
    np.int64(2)
    """
    known = ~np.isnan(values)
    distinct, counts = np.unique(values[known], return_counts=True)
    found = np.zeros(values.size, dtype=np.bool_)
    if distinct.size <= _LEAST_VALUES:
        return found
    occurring = np.isin(distinct, SENTINELS) & (counts >= _LEAST) & (counts <= _MOST * known.sum())
    others = distinct[~occurring]
    if not occurring.any() or others.size < _LEAST_VALUES:
        return found
    rest = values[known & ~np.isin(values, distinct[occurring])]
    low, high = np.quantile(rest, [0.01, 0.99])
    whole = bool((rest == np.round(rest)).all())
    for value in distinct[occurring]:
        gap = float(np.abs(others - value).min())
        # The one negative whole number among counts is apart by its sign.
        apart = gap > 0.5 * (high - low) or (value < 0 and whole and others[0] >= 0)
        if apart:
            found |= values == value
    return found
