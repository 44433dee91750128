"""One person's rows: finding them, writing them out, and writing tables without them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from mcp_server.core.contract import Contract, from_dict, to_dict
from mcp_server.core.ingest import write_parquet
from mcp_server.core.personal.subject import matching
from mcp_server.core.personal.written import written
from mcp_server.core.preparing.table import DataTable
from mcp_server.core.profile import profile
from mcp_server.core.reports.sheet import FORMULA
from mcp_server.workflows.operations.reading import stored_column, stored_table

Report = Callable[[float, str], None]

MOST_SPELLINGS = 100
SHORTEST = 4
"""Letters of a value that is looked for inside files; a shorter one would be found in anything."""
_NUMBER = r"^-?[0-9.]+$"


def find_subject(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Which tables hold a person's rows, and which models hold something of them.

    Args:
        arguments: column, value; tables (path, reference and contract of each; each has the column); models (reference,
            dataset, and paths by name of each).
    Returns:
        tables: reference and number of rows, made-up ones of theirs included, for those that have any; spellings: the
            value as it stands in them;
        models: the references of those whose files hold the value, or a row of the person.
    """
    column, value = arguments["column"], arguments["value"]
    found: list[dict[str, Any]] = []
    spellings: list[Any] = []
    rows: dict[str, pl.DataFrame] = {}
    for done, table in enumerate(arguments["tables"]):
        report(done / len(arguments["tables"]), "Looking through the tables")
        values = stored_column(table["path"], column)
        matched = matching(values, value)
        count = int(matched.sum())
        if count:
            whole = DataTable(stored_table(table["path"]), from_dict(table["contract"]))
            found.append({"reference": table["reference"], "rows": whole.rows - _rest(whole, matched).rows})
            rows[table["reference"]] = whole.frame.filter(matched)
            spellings += [_plain(cell) for cell in values.filter(matched).unique().to_list()]
    words = sorted({str(one) for one in [value, *spellings]})
    holding = [
        model["reference"]
        for model in arguments["models"]
        if model["dataset"] in rows and _holds(model["paths"], rows[model["dataset"]], words)
    ]
    distinct = {str(one): one for one in spellings}
    return {"tables": found, "spellings": list(distinct.values())[:MOST_SPELLINGS], "models": holding}


def without_subject(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Write a table again without a person's rows, and without those that were made up from them.

    Args:
        arguments: path, contract, column, value, out.
    Returns:
        rows, contract and profile of what was written.
    """
    column, value = arguments["column"], arguments["value"]
    table = DataTable(stored_table(arguments["path"]), from_dict(arguments["contract"]))
    kept = _rest(table, matching(table.frame[column], value)).frame
    contract = _without_lost(table.contract, kept, column, value)
    with open(arguments["out"], "wb") as target:
        write_parquet(kept, target)
    described = profile(kept, contract) if kept.height else {"rows": 0, "columns": kept.width, "listed": []}
    return {"rows": kept.height, "contract": to_dict(contract), "profile": described}


def export_subject(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write a person's rows of several tables into one file.

    Args:
        arguments: column, value, format (`json` or `csv`), tables (path and reference of each) and out.
    Returns:
        rows: how many were written.
    """
    parts = []
    for done, table in enumerate(arguments["tables"]):
        report(done / len(arguments["tables"]), "Writing the rows")
        frame = stored_table(table["path"])
        rows = frame.filter(matching(frame[arguments["column"]], arguments["value"]))
        parts.append((table["reference"], rows))
    out = Path(arguments["out"])
    if arguments["format"] == "json":
        document = {reference: [_row(row) for row in rows.iter_rows(named=True)] for reference, rows in parts}
        out.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    else:
        shown = [_as_text(reference, rows) for reference, rows in parts]
        pl.concat(shown, how="diagonal").write_csv(out)
    return {"rows": sum(rows.height for _, rows in parts)}


def _rest(table: DataTable, gone: pl.Series) -> DataTable:
    """The table without some rows and what was made up from them; the numbers of sources follow the rows."""
    return table.take(np.flatnonzero(~gone.to_numpy()))


def _without_lost(contract: Contract, frame: pl.DataFrame, subject: str, value: str | int | float) -> Contract:
    """The contract without categories and ranges that nobody but the erased rows had.

    What a person stated isn't of these rows, so it stays, but for the value itself.

    Args:
        subject: the column that names the person.
    """
    columns = []
    for column in contract.columns:
        values = frame[column.name].drop_nulls()
        changes: dict[str, Any] = {}
        if column.allowed is not None:
            left = set(values.unique().to_list())
            if contract.states(column, "allowed"):
                left = {name for name in column.allowed if column.name != subject or written(name) != written(value)}
            changes["allowed"] = tuple(name for name in column.allowed if name in left)
        if column.minimum is not None and not contract.states(column, "minimum"):
            changes["minimum"] = float(values.min()) if values.len() else None  # type: ignore[arg-type]
        if column.maximum is not None and not contract.states(column, "maximum"):
            changes["maximum"] = float(values.max()) if values.len() else None  # type: ignore[arg-type]
        changed = column.model_copy(update=changes)
        if changed.minimum is not None and changed.maximum is not None and changed.minimum > changed.maximum:
            # What is left lies outside what was stated: the statement stays, and the range ends there.
            stated = column.minimum if "maximum" in changes else column.maximum
            changed = changed.model_copy(update={"minimum": stated, "maximum": stated})
        columns.append(changed)
    return contract.model_copy(update={"columns": tuple(columns)})


def _holds(paths: Mapping[str, str], rows: pl.DataFrame, words: list[str]) -> bool:
    """Whether a model's files hold the value itself, or recorded a row of the person to be asked again."""
    for name, path in paths.items():
        content = Path(path).read_bytes()
        if any(_needle(word, part) for part in _unpacked(content) for word in words):
            return True
        if name == "golden.json" and any(_same(record["row"], rows) for record in orjson.loads(content)):
            return True
    return False


def _needle(word: str, content: bytes) -> bool:
    return len(word) >= SHORTEST and (word.encode() in content or orjson.dumps(word)[1:-1] in content)


def _unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def _same(row: Mapping[str, Any], rows: pl.DataFrame) -> bool:
    """Whether some row has every value of a recorded one."""
    shared = [name for name in row if name in rows.columns]
    return bool(shared) and any(
        all(_compared(one[name]) == _compared(row[name]) for name in shared)
        for one in rows.select(shared).iter_rows(named=True)
    )


def _compared(value: Any) -> str | None:
    return None if value is None else written(_plain(value))


def _as_text(reference: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows for a spreadsheet: no cell of them is a formula."""
    text = rows.with_columns(pl.all().cast(pl.String))
    guarded = [
        pl.when(pl.col(name).str.contains(FORMULA) & ~pl.col(name).str.contains(_NUMBER))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in text.columns
    ]
    safe = text.select(pl.lit(reference).alias("data set version"), *guarded)
    return safe.rename({name: f"'{name}" for name in text.columns if name[0] in "=+-@\t\r"})


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
