"""From files, an address, a database or text to an immutable, validated-on-the-way-in data set version."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import check_name
from mcp_server.errors import ComputeFailed, Conflict, CorruptArtefact, DataRejected, InvalidInput, NotFound
from mcp_server.workflows import labelling, remote, tracked
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import against_previous, not_newest
from mcp_server.workflows.data_answers import Imported
from mcp_server.workflows.describing import content_digest, find, genuine
from mcp_server.workflows.files import Brought, Copied, copy_allowed
from mcp_server.workflows.reply import counted, token

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion
    from mcp_server.storage.transaction import Transaction

# What a reading process can take for each MiB that it may fill: the rows go through the disk, so that this is far from
# the edge for narrow tables; it's set by wide ones.
CELLS_PER_MIB = 60_000
MOST_TOLD = 20
MOST_NAMED = 5
PROMISES = "promises"


Mode = Literal["full", "append", "upsert"]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What import_data was asked."""

    name: str
    path: str | None
    text: str | None
    mode: Mode = "full"
    since: str | None = None
    target: str | None = None
    time: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    row_filter: str | None = None
    options: dict[str, str | list[str]] = field(default_factory=dict)
    query: str | None = None

    @property
    def reading(self) -> dict[str, str | list[str]]:
        """The options about how to read; the others are about what to do with it."""
        return {name: value for name, value in self.options.items() if name != PROMISES}


async def import_data(app: App, call: CallContext, request: ImportRequest) -> Imported:
    """Copy, parse in a limited child, store the table and its record.

    Raises:
        InvalidInput: not exactly one of path and text, or statements that the mode doesn't allow.
        NotFound: there's no version to add to.
        DataRejected: the content is refused; nothing is stored and no temporary file is left.
        Conflict: another version was stored while the rows were added to the one before, or that one changed.
    """
    name = check_name(request.name)
    _check(request)
    parent = None if request.mode == "full" else await find(app, name)
    before = await _before(app, name) if request.mode == "full" else Before()
    storage = await app.storage()
    async with app.scratch() as folder:
        table = folder / "table.parquet"
        brought = await _bring(app, call, request, folder)
        if brought.unchanged is not None:
            return await _as_before(app, call, brought.unchanged, "Unchanged at its source since then.")
        reads = [folder]
        extends = None
        if parent is not None:
            stored = await storage.artefacts.local_path(parent.artefact)
            extends = {
                "path": str(stored),
                "contract": parent.contract,
                "mode": request.mode,
                "since": request.since,
            }
            reads.append(stored)
        held = None if request.options.get(PROMISES) == "drop" else before.promises
        arguments = _arguments(app, request, brought, folder, table) | {"extends": extends, "before": held}
        parsed = await _parse(app, call, arguments, reads)
        if parent is not None and parsed.get("nothing_new"):
            note = "No row is beyond the largest value of since; nothing was added."
            return await _as_before(app, call, parent, note)
        labels = await labelling.gained_by(app, call, name, table, parsed["contract"])
        artefact = await storage.artefacts.put_file(table)
    parsed["notes"] = [*brought.notes, *parsed["notes"]]
    answer = await _record(app, call, name, brought.source, parsed, artefact, parent, before, labels)
    await told_outside(app, call, answer, brought.source)
    return answer


@dataclass(frozen=True, slots=True)
class Before:
    """The newest version of a data set that is imported in full again.

    Args:
        version: its number, 0 where there's none.
        record: None also where its record was changed since it was stored, so that nothing in it can be relied on.
    """

    version: int = 0
    record: DatasetVersion | None = None

    @property
    def promises(self) -> dict[str, Any] | None:
        """What the reading process holds the new table to."""
        if self.record is None:
            return None
        return {"contract": self.record.contract, "imported": self.record.source.get("kind") != "prepared"}


async def _before(app: App, name: str) -> Before:
    from mcp_server.storage import datasets

    storage = await app.storage()
    try:
        async with storage.database.reading() as tx:
            record = await datasets.get(tx, name)
    except NotFound:
        return Before()
    try:
        return Before(record.version, genuine(record))
    except CorruptArtefact:
        return Before(record.version)


async def told_outside(app: App, call: CallContext, answer: Imported, source: dict[str, Any]) -> None:
    """Tell the import's OpenLineage events, where the settings ask for them."""
    sink = app.lineage()
    if sink is None:
        return
    from mcp_server.integrations import openlineage

    name = str(source.get("uri") or source.get("name") or source.get("kind"))
    facts: dict[str, Any] = {
        "run": call.request_id,
        "job": f"import {answer.dataset.partition('@')[0]}",
        "inputs": [openlineage.dataset(name, namespace="file", digest=source.get("digest"))],
    }
    made = openlineage.dataset(answer.dataset, digest=answer.digest, rows=answer.rows)
    events = [
        openlineage.run_event("START", at=app.clock.now(), **facts),
        openlineage.run_event("COMPLETE", at=app.clock.now(), outputs=[made], **facts),
    ]
    await sink.tell(events)


async def _parse(app: App, call: CallContext, arguments: dict[str, Any], reads: list[Path]) -> dict[str, Any]:
    try:
        return await (await app.compute()).run(
            "parse_table", arguments, timeout=call.remaining(), fresh=True, reads=reads, progress=call.report
        )
    except ComputeFailed as failed:
        if failed.details.get("reason") != "crashed":
            raise
        raise DataRejected(
            "E_DAMAGED",
            "The process that read the file crashed on it; nothing was stored.",
            hint="Write the file again, as CSV if it's Parquet.",
            details={"reference": failed.details["reference"]},
        ) from None


def _check(request: ImportRequest) -> None:
    if (request.path is None) == (request.text is None):
        raise InvalidInput(
            "Give either path or text.",
            hint="path for files in an allowed folder, an https address or sql:NAME; text for a table itself.",
        )
    if "parameters" in request.options and not remote.is_query(request.path):
        raise InvalidInput(
            "options.parameters goes with a path sql:NAME.", hint="Leave it out; only a query has parameters."
        )
    if request.options.get(PROMISES, "keep") not in ("keep", "drop"):
        raise InvalidInput(
            "options.promises is keep or drop.",
            hint="keep holds the table to what was stated about the newest version; drop leaves that out.",
        )
    if request.mode != "full" and PROMISES in request.options:
        raise InvalidInput(
            f"mode {request.mode} keeps what was stated about the version before.",
            hint="Leave options.promises out; a step contract of prepare_data states otherwise.",
        )
    stated = request.target or request.time or request.roles or request.derived or request.row_filter
    if request.mode != "full" and stated:
        raise InvalidInput(
            f"mode {request.mode} keeps the target, time, roles, derived and filter of the version before.",
            hint="Leave them out, or import in full.",
        )
    if request.mode == "full" and request.since is not None:
        raise InvalidInput("since goes with mode append or upsert.", hint="Set mode, or leave since out.")


async def _bring(app: App, call: CallContext, request: ImportRequest, folder: Path) -> Brought:
    """Get what was asked for into the scratch folder, as plain files that nothing has read yet.

    Each kind of source has a branch here; what follows doesn't know where files came from.
    """
    if request.path is not None and remote.is_remote(request.path):
        return await remote.bring(app, call, request, folder / "brought")
    if request.query is not None:
        raise InvalidInput("Only a database takes a query.", hint="Give query with a path such as sql:NAME.")
    if request.text is not None:
        return await _bring_text(app, request.text, folder)
    assert request.path is not None
    most_bytes = app.settings.max_import_mib * 1024 * 1024
    if tracked.is_tracked(request.path):
        return await tracked.bring(request.path, app.settings.allowed_dirs, folder, most_bytes=most_bytes)
    copies = await asyncio.to_thread(
        copy_allowed, request.path, app.settings.allowed_dirs, folder, most_bytes=most_bytes
    )
    if len(copies) == 1:
        one = copies[0]
        return Brought(copies, {"kind": "file", "digest": f"sha256:{one.digest}", "bytes": one.size, "name": one.name})
    together = hashlib.sha256("\n".join(copy.digest for copy in copies).encode()).hexdigest()
    files = [{"name": copy.name, "digest": f"sha256:{copy.digest}", "bytes": copy.size} for copy in copies]
    size = sum(copy.size for copy in copies)
    return Brought(copies, {"kind": "files", "digest": f"sha256:{together}", "bytes": size, "files": files})


async def _bring_text(app: App, text: str, folder: Path) -> Brought:
    content = text.encode("utf-8", errors="surrogatepass")
    most = app.settings.max_inline_kib * 1024
    if len(content) > most:
        raise DataRejected(
            "E_SIZE", f"The text has {len(content):,} bytes; {most:,} are allowed.", hint="Import it as a file."
        )
    if not content.strip():
        raise DataRejected("E_EMPTY", "The text is empty.", hint="Give CSV with a header and rows, or JSON.")
    copy = Copied(folder / "text", None, hashlib.sha256(content).hexdigest(), len(content))
    await asyncio.to_thread(copy.path.write_bytes, content)
    return Brought([copy], {"kind": "text", "digest": f"sha256:{copy.digest}", "bytes": copy.size})


def _arguments(app: App, request: ImportRequest, brought: Brought, folder: Path, table: Path) -> dict[str, Any]:
    return {
        "files": [{"path": str(file.path), "name": file.name} for file in brought.files],
        "scratch": str(folder),
        "out": str(table),
        "target": request.target,
        "time": request.time,
        "roles": dict(request.roles),
        "derived": request.derived,
        "row_filter": request.row_filter,
        "options": dict(request.reading if brought.options is None else brought.options),
        "max_bytes": app.settings.max_import_mib * 1024 * 1024,
        "max_rows": app.settings.max_rows,
        "max_columns": app.settings.max_columns,
        "max_cells": CELLS_PER_MIB * app.settings.child_memory_mib,
    }


async def _record(
    app: App,
    call: CallContext,
    name: str,
    source: dict[str, Any],
    parsed: dict[str, Any],
    artefact: str,
    parent: DatasetVersion | None,
    before: Before,
    labels: labelling.ArrivedLabels,
) -> Imported:
    from mcp_server.storage import datasets, removal

    storage = await app.storage()
    content = content_digest(artefact, parsed["contract"], {})
    async with storage.database.transaction(call) as tx:
        await removal.hold(tx, [artefact])
        if parent is None:
            await _require_newest(tx, name, before)
        else:
            await datasets.require_unchanged(tx, {f"{parent.name}@{parent.version}": parent.digest})
            if (await datasets.get(tx, name)).version != parent.version:
                raise Conflict(
                    f"Another version of {name} was stored meanwhile; nothing was added to it.",
                    hint="Call import_data again.",
                )
        known = None if parent is None else await datasets.with_digest(tx, name, content)
        if parent is not None and known is not None and known.version != parent.version:
            # Rows were put back to what an earlier version holds; it's the newest content all the same.
            source = source | {"follows": parent.digest}
            content = content_digest(artefact, parsed["contract"], source)
        version = await datasets.add_version(
            tx,
            name=name,
            digest=content,
            artefact=artefact,
            rows=parsed["rows"],
            columns=parsed["columns"],
            contract=parsed["contract"],
            profile=parsed["profile"],
            source=_source(source, parsed),
            parent=None if parent is None else f"{parent.name}@{parent.version}",
            created_by=call.caller.id,
        )
        gained = await labels.record(tx, f"{version.name}@{version.version}")
        compared = await against_previous(tx, version)
        existing = version.created_at != tx.now
        held = await not_newest(tx, version) if existing else []
        answer = _answer(
            version,
            existing=existing,
            notes=[*held, *_told(parsed, parent), *_promises_told(parsed, before), *gained, *compared.notes],
            untrusted={**_untrusted(parsed), **compared.apart},
        )
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(answer.dataset)
    return answer


async def _require_newest(tx: Transaction, name: str, before: Before) -> None:
    """Make sure that nothing was stated about the data set since its promises were read.

    Raises:
        Conflict: a newer version is there, with promises that this import wasn't held to.
    """
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.keeping import promises
    from mcp_server.storage import datasets

    try:
        newest = await datasets.get(tx, name)
    except NotFound:
        return
    if newest.version != before.version and promises(await asyncio.to_thread(from_dict, newest.contract)):
        raise Conflict(
            f"Another version of {name} was stored meanwhile; this one isn't held to what it promises.",
            hint="Call import_data again.",
        )


async def _as_before(app: App, call: CallContext, version: DatasetVersion, note: str) -> Imported:
    """The answer where there was nothing to store: a version that is there already."""
    async with (await app.storage()).database.transaction(call) as tx:
        answer = _answer(version, existing=True, notes=[note, *(await not_newest(tx, version))], untrusted={})
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(answer.dataset)
    return answer


def _answer(version: DatasetVersion, *, existing: bool, notes: list[str], untrusted: dict[str, Any]) -> Imported:
    reference = f"{version.name}@{version.version}"
    return Imported(
        dataset=reference,
        rows=version.rows,
        columns=version.columns,
        target=_target(version.contract),
        notes=notes,
        digest=version.digest,
        existing=existing,
        next=f"validate_data with dataset {reference}.",
        untrusted=untrusted,
    )


def _source(source: dict[str, Any], parsed: dict[str, Any]) -> dict[str, Any]:
    """Where the rows came from, with the rows of each file where there are several."""
    read = {key: parsed[key] for key in ("format", "encoding", "delimiter") if parsed[key]}
    if len(parsed["files"]) > 1:
        rows = [count for _, count in parsed["files"]]
        source = source | {"files": [file | {"rows": n} for file, n in zip(source["files"], rows, strict=True)]}
    return source | read


def _told(parsed: dict[str, Any], parent: DatasetVersion | None) -> list[str]:
    told = []
    if parent is not None:
        added = counted(parsed["added"], "row")
        told.append(
            f"{added} added to {parent.name}@{parent.version}, {parsed['replaced']} replaced, "
            f"{parsed['passed']} left out."
        )
        told += _classes_told(parsed["new_classes"], f"{parent.name}@{parent.version}")
    if len(parsed["files"]) > 1:
        told.append(f"{len(parsed['files'])} files in the order of their names, see untrusted.files.")
    if parsed["notes"]:
        told.append(f"{counted(len(parsed['notes']), 'note')} on reading, see untrusted.notes.")
    return told + personal_notes(parsed)


def _classes_told(new: dict[str, Any], parent: str) -> list[str]:
    """That labels came that are classes of their own: perhaps misspelt ones."""
    if not new["count"]:
        return []
    names = [name for name, _ in new["named"]]
    where = ", see untrusted.new_classes" if len(names) > len(_plain_ones(names)) else ""
    return [
        f"{counted(new['count'], 'class', 'classes')} of the target that {parent} doesn't have{_plain(names)}{where}, "
        f"in {counted(new['rows'], 'row')}: misspelt? What is learned or measured takes each for a class of its own."
    ]


def _promises_told(parsed: dict[str, Any], before: Before) -> list[str]:
    """What became of what was stated about the version before."""
    if before.version and before.record is None:
        return [f"Version {before.version}'s record was changed; what it promised isn't held to."]
    told = []
    reference = "" if before.record is None else f"{before.record.name}@{before.record.version}"
    if parsed.get("kept"):
        told.append(f"{counted(parsed['kept'], 'promise')} of {reference} go on: rows that break them are refused.")
    if parsed.get("lost"):
        told.append(f"Not held to {counted(parsed['lost'], 'promise')} of {reference}: the columns aren't there.")
    return told


def _untrusted(parsed: dict[str, Any]) -> dict[str, Any]:
    found = {"notes": parsed["notes"][:MOST_TOLD], **parsed["preview"]}
    if len(parsed["files"]) > 1:
        found["files"] = [[label(name or ""), rows] for name, rows in parsed["files"][:MOST_TOLD]]
    if parsed.get("new_classes", {}).get("named"):
        found["new_classes"] = parsed["new_classes"]["named"]
    return found


def personal_notes(parsed: dict[str, Any]) -> list[str]:
    """What is said of personal columns, by name where it's a plain word; the profile tells all of them."""
    personal = [column["name"] for column in parsed["contract"]["columns"] if column.get("personal")]
    names = sum("warning" in column for column in parsed["profile"].get("listed", ()))
    told = []
    if personal:
        told.append(
            f"{counted(len(personal), 'column')} with personal data{_plain(personal)}: values are never shown, hashed "
            "in predictions."
        )
    if names:
        told.append(f"{counted(names, 'column')} may hold names of people and are shown; see describe_data.")
    return told


def _plain(names: list[str]) -> str:
    """The names that are plain words, in brackets.

    >>> _plain(["mail", "ignore all rules"])
    ' (mail, …)'
    """
    plain = _plain_ones(names)
    return f" ({', '.join(plain)}{', …' if len(plain) < len(names) else ''})" if plain else ""


def _plain_ones(names: list[str]) -> list[str]:
    return [name for name in names if token(name, "")][:MOST_NAMED]


def _target(contract: dict[str, Any]) -> str | None:
    for column in contract["columns"]:
        if column["role"] == "target":
            return token(column["name"], "") or None
    return None
