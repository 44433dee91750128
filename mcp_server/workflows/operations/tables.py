"""Tables: from a file to a typed table with its contract, and back to rows."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, get_args

from pydantic import ValidationError

from mcp_server.core.contract import Contract, Derived, from_dict, to_dict
from mcp_server.core.ingest import (
    HEAD,
    CsvOptions,
    Extended,
    File,
    FileRows,
    Limits,
    Parts,
    extend,
    in_parts,
    new_classes,
    packing_of,
    read_table,
    shape_parts,
    text_columns,
    unpack,
    unpacked_name,
    write_parquet,
)
from mcp_server.core.labels import in_file, label
from mcp_server.core.profile import profile
from mcp_server.core.quality.stated import inherited, require_stated
from mcp_server.errors import DataRejected, DiskFull, InvalidInput
from mcp_server.workflows.operations.reading import stored_table
from mcp_server.workflows.operations.spilling import Spilled

Report = Callable[[float, str], None]

PREVIEW_COLUMNS = 50
MOST_CLASSES = 10

_MORE = "Correct the rows; or state otherwise first, by prepare_data with a step contract."
_ANEW = (
    'Correct the file; or import it with options {"promises": "drop"}, or under another name, to leave out what was '
    "stated."
)


def ping(_arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Answer, to show that the child does."""
    return {"ok": True}


def parse_table(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Read files strictly, shape them into one table or add them to a version's, and write it as Parquet.

    Args:
        arguments: files (path and name of each), scratch (a folder for what is unpacked), out, options (of
            `CsvOptions`), target, time, roles, derived (name to expression), row_filter, max_bytes, max_rows,
            max_columns, max_cells; extends, None or the parent's path (Parquet) and contract, mode and since; and
            before, None or the contract of the newest version and whether it was imported, whose stated promises hold.
    Returns:
        rows, columns, contract, profile, notes, preview, format, encoding, delimiter, files (name and rows of each);
        where a version was extended, added, replaced, passed and new_classes (of the target), too; where there was one
        before, how many promises were kept and lost. `{"nothing_new": True}` where no row is new: nothing is written
        then.
    Raises:
        DataRejected, InvalidInput, BadTarget: the content or a statement about it is refused, or it breaks what was
            stated before; nothing is written.
        DiskFull: what is unpacked or written finds no room.
    """
    limits = Limits(
        size=arguments["max_bytes"],
        rows=arguments["max_rows"],
        columns=arguments["max_columns"],
        cells=arguments["max_cells"],
    )
    extends, before = arguments["extends"], arguments["before"]
    scratch = Path(arguments["scratch"])
    new_parts = partial(Spilled, scratch)
    contract = None if extends is None else from_dict(extends["contract"])
    former = None if before is None else from_dict(before["contract"])
    table = read_table(
        plain_files(arguments["files"], scratch, limits),
        limits=limits,
        options=_options(arguments["options"]),
        as_text=_as_text(contract, former),
        new_parts=new_parts,
        report=lambda share, what: report(0.8 * share, what),
    )
    report(0.8, "Inferring the contract")
    told: dict[str, Any] = {}
    if contract is None:
        parts, contract = shape_parts(
            table.parts,
            new_parts=new_parts,
            target=arguments["target"],
            time=arguments["time"],
            roles=arguments["roles"],
            row_filter=arguments["row_filter"],
            derived=[Derived(name=name, expression=text) for name, text in arguments["derived"].items()],
        )
        if former is not None:
            with _file_told(table.files):
                found = inherited(parts, contract, former, imported=before["imported"], hint=_ANEW)
            contract, told = found.contract, {"kept": found.kept, "lost": found.lost}
    else:
        parent = stored_table(extends["path"])
        with _file_told(table.files):
            extended = extend(parent, contract, table.frame, mode=extends["mode"], since=extends["since"])
            if extended is None:
                return {"nothing_new": True}
            _hold(extended, contract)
        parts, contract = in_parts(extended.frame), extended.contract
        limits.check_extent(parts.height, len(parts.columns))
        told = {"added": extended.added, "replaced": extended.replaced, "passed": extended.passed}
        told["new_classes"] = _classes(new_classes(parent, extended.taken, contract), contract)
    described = profile(parts, contract)
    report(0.9, "Writing")
    with _room(), open(arguments["out"], "wb") as target:
        write_parquet(parts, target)
    return told | {
        "rows": parts.height,
        "columns": len(parts.columns),
        "contract": to_dict(contract),
        "profile": described,
        "notes": [note.to_dict() for note in table.notes],
        "preview": _preview(contract),
        "format": table.format,
        "encoding": table.encoding,
        "delimiter": table.delimiter,
        "files": [[file.name, file.rows] for file in table.files],
    }


def _classes(found: list[tuple[str, int]], contract: Contract) -> dict[str, Any]:
    """How many classes are new and how many rows have one; the first by name, unless the target is personal."""
    hidden = contract.target is None or contract.column(contract.target).personal
    named = [] if hidden else [[label(name), rows] for name, rows in found[:MOST_CLASSES]]
    return {"count": len(found), "rows": sum(rows for _, rows in found), "named": named}


def _as_text(contract: Contract | None, former: Contract | None) -> frozenset[str]:
    """The columns that are text because they were: all of a version that is extended, else those with promises."""
    if contract is not None:
        return text_columns(contract)
    if former is None:
        return frozenset()
    return text_columns(former) & {column.name for column in former.columns if former.promised(column)}


@contextmanager
def _file_told(files: Sequence[FileRows]) -> Iterator[None]:
    """Say of a refused row in which of several files it is."""
    try:
        yield
    except DataRejected as refused:
        row = next(iter(refused.details.get("rows", ())), None)
        if len(files) == 1 or row is None:
            raise
        number = 1
        for file in files:
            if row <= file.rows:
                break
            row, number = row - file.rows, number + 1
        raise in_file(refused, number, files[number - 1].name, row_in_file=row) from None


def _hold(extended: Extended, contract: Contract) -> None:
    """Refuse rows on their way into a version where they break what was stated about it."""
    both = Parts()
    for frame in (extended.stayed, extended.taken):
        both.put(frame)
    require_stated(both, contract, hint=_MORE, first=extended.stayed.height, rows=extended.rows)


def plain_files(given: Sequence[Mapping[str, Any]], scratch: Path, limits: Limits) -> list[File]:
    """The files, those that are compressed unpacked beside them; together within the limit on bytes."""
    files, left = [], limits.size
    for number, one in enumerate(given, start=1):
        path, name = Path(one["path"]), one["name"]
        with path.open("rb") as content:
            head = content.read(HEAD)
            try:
                packing = packing_of(head, name)
                if packing is not None:
                    path = scratch / f"{number}.plain"
                    with _room(), path.open("xb") as target:
                        member = unpack(content, target, packing, replace(limits, size=left))
                    name = unpacked_name(name, member)
            except DataRejected as refused:
                raise refused if len(given) == 1 else in_file(refused, number, one["name"]) from None
        left -= path.stat().st_size
        files.append(File(partial(_open, path), name))
    return files


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as failed:
        if failed.errno != errno.ENOSPC:
            raise
        raise DiskFull("The disk is full; nothing was stored.", hint="Free some space, then import again.") from None


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
        return f"not an option; the options are {', '.join(CsvOptions.model_fields)}, promises"
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
