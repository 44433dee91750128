"""What of a file breaks a data set's contract, told by column, count and first rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import polars as pl

from mcp_server.core.contract import Column
from mcp_server.core.labels import place
from mcp_server.errors import DataRejected

FIRST_ROWS = 10
_LISTED = 20
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "category": "text",
    "text": "text",
    "date": "a date",
    "datetime": "an instant",
}

Violation = dict[str, Any]
"""`message`, and where there are such `column` (its position), `count` and `rows`, the first ones."""


def violated(column: Column, position: int, what: str, mask: pl.Series, rows: pl.Series) -> Violation:
    """What is wrong with a column where a mask says so.

    Args:
        what: goes after the column's name.
        rows: the number of each row in the file.
    """
    return violation(column, position, what, count=int(mask.sum()), rows=rows.filter(mask).head(FIRST_ROWS).to_list())


def violation(
    column: Column, position: int, what: str, *, count: int | None = None, rows: Sequence[int] = ()
) -> Violation:
    where = place(column.name, position)
    return told(f"{where[0].upper()}{where[1:]} {what}", column=position, count=count, rows=rows)


def told(message: str, *, column: int | None = None, count: int | None = None, rows: Sequence[int] = ()) -> Violation:
    """A sentence without its point, completed by the first rows."""
    found: Violation = {} if column is None else {"column": column}
    if rows:
        shown = ", ".join(map(str, rows[:5])) + (", …" if count and count > 5 else "")
        message += f"; {count} incoming row{'s' * (count != 1)}: {shown}"
        found |= {"count": count, "rows": list(rows)}
    return {"message": message + ".", **found}


def refuse(violations: Sequence[Violation], hint: str) -> NoReturn:
    """Raises DataRejected, `E_CONTRACT`, about the first and the number of the others; details list them."""
    rest = len(violations) - 1
    message = violations[0]["message"] + (f" {rest} more of the contract's terms are broken." if rest else "")
    listed = [{key: value for key, value in found.items() if key != "message"} for found in violations[:_LISTED]]
    raise DataRejected("E_CONTRACT", message, hint=hint, details={**listed[0], "violations": listed})
