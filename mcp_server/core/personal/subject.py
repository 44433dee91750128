"""Finding one person's rows by a value that names them."""

from __future__ import annotations

import polars as pl

from mcp_server.core.personal.written import written


def matching(values: pl.Series, value: str | int | float) -> pl.Series:
    """Which cells are a value, whatever the column's type: booleans, none of them missing.

    >>> matching(pl.Series([" ANN@x.org", "bob@x.org", None]), "ann@x.org").to_list()
    [True, False, False]
    >>> matching(pl.Series([7.0, 8.0]), "7").to_list()
    [True, False]
    """
    wanted = written(value)
    if values.dtype.is_numeric():
        try:
            number = float(wanted)
        except ValueError:
            return pl.Series(values.name, [False]).new_from_index(0, values.len())
        if values.dtype.is_integer() and number.is_integer():
            return (values == int(wanted if wanted.lstrip("-").isdigit() else number)).fill_null(False)
        return (values == number).fill_null(False)
    text = values.cast(pl.String)
    # Lower case first, in Rust; Python's folding, which goes further, only where that may matter.
    plain = text.str.strip_chars().str.to_lowercase()
    if wanted.isascii():
        return (plain == wanted).fill_null(False)
    folded = pl.Series([None if cell is None else written(cell) for cell in text], dtype=pl.String)
    return (folded == wanted).fill_null(False)
