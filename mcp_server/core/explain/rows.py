"""Rows as a caller sends them, as a table of the types that a serving form reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mcp_server.core.predictor.form import Form
from mcp_server.core.predictor.reading import typed_value

_TYPES: dict[str, pl.DataType] = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us", "UTC"),
}


def schema_of(form: Form) -> dict[str, pl.DataType]:
    """Input to its type, derived ones too."""
    kinds = {derived.name: "number" for derived in form.derived} | {spec.name: spec.kind for spec in form.inputs}
    return {name: _TYPES[kind] for name, kind in kinds.items()}


def typed_row(form: Form, row: Mapping[str, object]) -> dict[str, Any]:
    """A row's values by input, None where it gives none; a derived column stands in it only where it's given.

    Raises:
        InvalidInput: a value has the wrong type. Unknown names are the predictor's to refuse.
    """
    kinds = {derived.name: "number" for derived in form.derived} | {spec.name: spec.kind for spec in form.inputs}
    computed = {derived.name for derived in form.derived}
    typed: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = row.get(name)
        if value is not None:
            typed[name] = typed_value(name, kind, value)
        elif name not in computed:
            typed[name] = None
    return typed


def typed_frame(form: Form, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Typed rows as a table; a derived column is in it where a row gives it."""
    given = {name for row in rows for name in row}
    schema = {name: dtype for name, dtype in schema_of(form).items() if name in given}
    return pl.DataFrame(
        [pl.Series(name, [row.get(name) for row in rows], dtype=dtype) for name, dtype in schema.items()]
    )
