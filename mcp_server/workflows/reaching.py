"""What an erasure reaches beyond a person's rows: what was fitted on them, what quotes the value, and older exports."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.workflows.describing import content_digest

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion
    from mcp_server.storage.transaction import Transaction

# Of a source: what a person or a plan said. The rest is what we measured.
SAID = ("name", "files", "uri", "url", "query", "parameters", "plan", "time", "options")


def made_of(every: Iterable[DatasetVersion], references: Collection[str]) -> list[DatasetVersion]:
    """The versions that were made from some, directly or not, oldest first; not these themselves.

    Args:
        every: all versions, oldest first: what something is made from is older.
    """
    reached = set(references)
    found = []
    for one in every:
        if reached.intersection(one.parents):
            reached.add(reference(one))
            found.append(one)
    return [one for one in found if reference(one) not in references]


def cleaned(
    version: DatasetVersion, column: str, spellings: Collection[Any], note: dict[str, Any], *, unfitted: bool
) -> DatasetVersion:
    """A version without the value in what is recorded of it; its rows stay, as none is the person's.

    Args:
        note: what its source says of the erasure, where its contract, and so its digest, is another now.
        unfitted: also without what a preparation fitted, as that was on rows of the person.
    """
    contract = clean_contract(version.contract, column, spellings)
    source = clean_source(version, spellings, unfitted=unfitted)
    if contract == version.contract:
        return replace(version, source=source)
    source = {**source, "erased": [*source.get("erased", []), note]}
    return replace(version, contract=contract, source=source, digest=content_digest(version.artefact, contract, source))


def clean_contract(contract: dict[str, Any], column: str, spellings: Collection[Any]) -> dict[str, Any]:
    """A contract whose expressions don't quote the value, and whose column of it doesn't allow it."""
    from mcp_server.core.personal.written import written
    from mcp_server.storage import erasure

    words = erasure.words_of(spellings)
    told = {name: contract[name] for name in ("row_filter", "derived", "rules") if name in contract}
    values = {written(one) for one in spellings}
    columns = [
        {**one, "allowed": [name for name in one["allowed"] if written(name) not in values]}
        if one["name"] == column and one.get("allowed") is not None
        else one
        for one in contract["columns"]
    ]
    return {**contract, "columns": columns, **erasure.without(told, words)}


def clean_source(version: DatasetVersion, spellings: Collection[Any], *, unfitted: bool) -> dict[str, Any]:
    """Where a version comes from, without the value; names of its columns stay, whatever they are."""
    from mcp_server.storage import erasure

    words = erasure.words_of(spellings)
    names = {one["name"] for one in version.contract["columns"]}
    return {
        name: erasure.without(part, words, names=names if name in SAID else None)
        for name, part in version.source.items()
        if not (unfitted and name == "fitted")
    }


@dataclass(frozen=True, slots=True)
class Quoting:
    """What quotes a person's value and goes with it: ids of reports, names of schedules."""

    reports: list[str]
    schedules: list[str]


async def quoting(tx: Transaction, words: Collection[str]) -> Quoting:
    """What quotes one of some words: neither can be changed, so that it's removed as a whole."""
    from mcp_server.storage import reports, schedules

    return Quoting(await reports.holding(tx, words), await schedules.holding(tx, words))


async def forget(tx: Transaction, words: Collection[str]) -> list[str]:
    """Remove what quotes one of some words now; the artefacts that this leaves loose."""
    from mcp_server.storage import reports, schedules

    found = await quoting(tx, words)
    for name in found.schedules:
        await schedules.remove(tx, name)
    return await reports.remove(tx, found.reports)


def exports_of(root: Path, own: Path, column: str, spellings: Collection[Any]) -> list[Path]:
    """The exported files of a person; blocking. Also those that were made under another column and hold the value.

    Args:
        root: the folder of all exports; own: the one of this person under this column.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = []
    for folder in folders:
        files = files_in(folder)
        if folder == own or any(_holds(path, column, spellings) for path in files):
            found += files
    return found


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def reference(version: DatasetVersion) -> str:
    return f"{version.name}@{version.version}"


def _holds(path: Path, column: str, spellings: Collection[Any]) -> bool:
    from mcp_server.core.personal.written import written
    from mcp_server.storage import erasure

    if erasure.holds(path.read_bytes(), erasure.words_of(spellings)):
        return True
    # Values that are too short to look for in text.
    values = {written(one) for one in spellings}
    return any(written(row[column]) in values for row in _rows(path) if row.get(column) is not None)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.name == "rows.json":
        for rows in json.loads(path.read_bytes()).values():
            yield from rows
    elif path.name == "rows.csv":
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
