"""Tables: from a file to a typed table with its contract, and back to rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pydantic import ValidationError

from mcp_server.core.contract import Contract, Derived, to_dict
from mcp_server.core.ingest import CsvOptions, Limits, read_csv, shape_table, write_parquet
from mcp_server.core.labels import label
from mcp_server.core.profile import profile
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]

PREVIEW_COLUMNS = 50


def ping(_arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Answer, to show that the child does."""
    return {"ok": True}


def parse_table(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Read a file strictly, shape it, and write it as Parquet.

    Args:
        arguments: path, out, options (of `CsvOptions`), target, time, roles, derived (name to expression),
            row_filter, max_bytes, max_rows, max_columns, max_cells.
    Returns:
        rows, columns, contract, profile, notes, preview, encoding, delimiter.
    Raises:
        DataRejected, InvalidInput, BadTarget: the content or a statement about it is refused; nothing is written.
    """
    limits = Limits(
        size=arguments["max_bytes"],
        rows=arguments["max_rows"],
        columns=arguments["max_columns"],
        cells=arguments["max_cells"],
    )
    with open(arguments["path"], "rb") as source:
        table = read_csv(
            source,
            limits=limits,
            options=_options(arguments["options"]),
            report=lambda share, what: report(0.8 * share, what),
        )
    report(0.8, "Inferring the contract")
    frame, contract = shape_table(
        table.frame,
        target=arguments["target"],
        time=arguments["time"],
        roles=arguments["roles"],
        row_filter=arguments["row_filter"],
        derived=[Derived(name=name, expression=text) for name, text in arguments["derived"].items()],
    )
    described = profile(frame, contract)
    report(0.9, "Writing")
    with open(arguments["out"], "wb") as target:
        write_parquet(frame, target)
    return {
        "rows": frame.height,
        "columns": frame.width,
        "contract": to_dict(contract),
        "profile": described,
        "notes": [note.to_dict() for note in table.notes],
        "preview": _preview(contract),
        "encoding": table.encoding,
        "delimiter": table.delimiter,
    }


def _options(given: dict[str, Any]) -> CsvOptions:
    try:
        return CsvOptions(**given)
    except ValidationError as invalid:
        wrong = sorted({str(error["loc"][0])[:64] for error in invalid.errors() if error["loc"]})
        listed = "; ".join(f"{label(name)!r}: {_values(name)}" for name in wrong)
        raise InvalidInput(f"options: {listed}.", hint="See docs/guides/import.md for each option.") from None


def _values(name: str) -> str:
    """What an option takes."""
    if name not in CsvOptions.model_fields:
        return f"not an option; the options are {', '.join(CsvOptions.model_fields)}"
    taken = [part for part in get_args(CsvOptions.model_fields[name].annotation) if part is not type(None)]
    words = [str(word) for part in taken for word in (get_args(part) or (part,)) if isinstance(word, str)]
    return f"one of {', '.join(words)}" if words else "a list of words"


def _preview(contract: Contract) -> dict[str, Any]:
    listed = [[label(column.name), column.kind, column.role] for column in contract.columns[:PREVIEW_COLUMNS]]
    rest = len(contract.columns) - len(listed)
    return {"columns": listed, **({"further_columns": rest} if rest else {})}


def read_rows(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """The rows of a table as objects, for columns that it has.

    Args:
        arguments: path (Parquet), columns, and those of them that are required.
    Raises:
        InvalidInput: a required column isn't there.
    """
    frame = stored_table(arguments["path"])
    lacking = [name for name in arguments["required"] if name not in frame.columns]
    if lacking:
        listed = ", ".join(repr(label(name)) for name in lacking[:10])
        raise InvalidInput(
            f"The data set lacks columns that the model reads: {listed}.",
            hint="Name a data set with the columns of the training data; describe_data lists them.",
        )
    frame = frame.select([name for name in arguments["columns"] if name in frame.columns])
    return {"rows": [{name: _plain(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
