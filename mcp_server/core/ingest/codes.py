"""The one shape that all codes of a column have, such as three capitals and four digits."""

from __future__ import annotations

from itertools import groupby

import polars as pl

_LEAST_DISTINCT = 20
_HEAD = 10_000
_LONGEST = 64
_MOST_RUNS = 12
_MOST_SHAPES = 50
_CLASSES = {"A": "[A-Z]", "a": "[a-z]", "0": "[0-9]"}


def code_pattern(values: pl.Series) -> str | None:
    """The pattern of a column's codes, in RE2's syntax, where there can be little doubt of it.

    All values have the same letters' and digits' places; only runs of digits may differ in length. Words, names and
    numbers of any length don't pass: a run of letters has one length, and there are 20 different values or more.

    Args:
        values: String, missing values left out by the caller or not.
    Returns:
        a pattern that every value has as a whole, or None.

    >>> code_pattern(pl.Series([f"NBA-{n:04d}" for n in range(50)]))
    '[A-Z]{3}\\\\-[0-9]{4}'
    """
    head = values.head(_HEAD).drop_nulls().unique()
    shapes = _shapes(head)
    if shapes is None or (head.len() < _LEAST_DISTINCT and values.drop_nulls().n_unique() < _LEAST_DISTINCT):
        return None
    if values.len() <= _HEAD:
        return _pattern(shapes)
    # Further down digits may run longer; then any number of them is said.
    for pattern in (_pattern(shapes), _pattern(shapes, counted=False)):
        if pattern is not None and not (~values.str.contains(rf"\A(?:{pattern})\z")).any():
            return pattern
    return None


def _shapes(texts: pl.Series) -> list[list[tuple[str, int]]] | None:
    """The different shapes as runs of one class with their lengths, where they differ in digits' lengths only.

    Args:
        texts: different ones, none missing.
    """
    if not texts.len() or (texts.str.len_chars() > _LONGEST).any() or texts.str.contains(r"\A\z|[^ -~]").any():
        return None
    shown = texts.str.replace_all("[A-Z]", "A").str.replace_all("[a-z]", "a").str.replace_all("[0-9]", "0").unique()
    if shown.len() > _MOST_SHAPES or shown.str.replace_all("0+", "0").n_unique() > 1:
        return None
    return [[(sign, len(list(run))) for sign, run in groupby(shape)] for shape in sorted(shown.to_list())]


def _pattern(shapes: list[list[tuple[str, int]]], *, counted: bool = True) -> str | None:
    if len(shapes[0]) > _MOST_RUNS or shapes[0][0][0] == " " or not any(sign in _CLASSES for sign, _ in shapes[0]):
        return None
    pieces = []
    for runs in zip(*shapes, strict=True):
        sign = runs[0][0]
        written = _CLASSES.get(sign) or (sign if sign.isalnum() else f"\\{sign}")
        pieces.append(f"{written}+" if sign == "0" and not counted else written + _times([run[1] for run in runs]))
    return "".join(pieces)


def _times(lengths: list[int]) -> str:
    least, most = min(lengths), max(lengths)
    return "" if most == 1 else f"{{{least}}}" if least == most else f"{{{least},{most}}}"
