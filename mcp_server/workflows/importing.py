"""From a file or text to an immutable, validated-on-the-way-in data set version."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_server.context import CallContext
from mcp_server.core.names import check_name
from mcp_server.errors import DataRejected, InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import against_previous
from mcp_server.workflows.data_answers import Imported
from mcp_server.workflows.files import copy_allowed
from mcp_server.workflows.reply import counted, token

# What a reading process can hold of a table for each MiB that it may fill, measured with numbers and short text.
CELLS_PER_MIB = 30_000


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What import_data was asked."""

    name: str
    path: str | None
    text: str | None
    target: str | None = None
    time: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    row_filter: str | None = None
    options: dict[str, str | list[str]] = field(default_factory=dict)


async def import_data(app: App, call: CallContext, request: ImportRequest) -> Imported:
    """Copy, parse in a limited child, store the table and its record.

    Raises:
        InvalidInput: not exactly one of path and text.
        DataRejected: the content is refused; nothing is stored and no temporary file is left.
    """
    name = check_name(request.name)
    if (request.path is None) == (request.text is None):
        raise InvalidInput(
            "Give either path or text.", hint="path for a file in an allowed folder, text for CSV itself."
        )
    storage = await app.storage()
    # Named as the computing children's own folders are, so that what a killed server leaves is swept with theirs.
    folder = app.settings.data_dir / "scratch" / f"child-{os.getpid()}-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700, parents=True)
    raw, table = folder / "table.csv", folder / "table.parquet"
    try:
        source = await _bring(app, request, raw)
        parsed = await (await app.compute()).run(
            "parse_table",
            _arguments(app, request, raw, table),
            timeout=call.remaining(),
            fresh=True,
            reads=[raw],
            progress=call.report,
        )
        artefact = await storage.artefacts.put_file(table)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return await _record(app, call, name, source, parsed, artefact)


async def _bring(app: App, request: ImportRequest, raw: Path) -> dict[str, Any]:
    if request.text is not None:
        content = request.text.encode("utf-8", errors="surrogatepass")
        most = app.settings.max_inline_kib * 1024
        if len(content) > most:
            raise DataRejected(
                "E_SIZE", f"The text has {len(content):,} bytes; {most:,} are allowed.", hint="Import it as a file."
            )
        if not content.strip():
            raise DataRejected("E_EMPTY", "The text is empty.", hint="Give CSV with a header and rows.")
        await asyncio.to_thread(raw.write_bytes, content)
        return {"kind": "text", "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "bytes": len(content)}
    assert request.path is not None
    digest, size, name = await asyncio.to_thread(
        copy_allowed, request.path, app.settings.allowed_dirs, raw, most_bytes=app.settings.max_import_mib * 1024 * 1024
    )
    return {"kind": "file", "digest": f"sha256:{digest}", "bytes": size, "name": name}


def _arguments(app: App, request: ImportRequest, raw: Path, table: Path) -> dict[str, Any]:
    return {
        "path": str(raw),
        "out": str(table),
        "target": request.target,
        "time": request.time,
        "roles": dict(request.roles),
        "derived": request.derived,
        "row_filter": request.row_filter,
        "options": request.options,
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
) -> Imported:
    from mcp_server.core.canonical import digest
    from mcp_server.storage import datasets

    storage = await app.storage()
    content = digest({"table": artefact, "contract": parsed["contract"]})
    async with storage.database.transaction(call) as tx:
        version = await datasets.add_version(
            tx,
            name=name,
            digest=content,
            artefact=artefact,
            rows=parsed["rows"],
            columns=parsed["columns"],
            contract=parsed["contract"],
            profile=parsed["profile"],
            source={**source, "encoding": parsed["encoding"], "delimiter": parsed["delimiter"]},
            parent=None,
            created_by=call.caller.id,
        )
        reference = f"{version.name}@{version.version}"
        compared = await against_previous(tx, version)
        answer = Imported(
            dataset=reference,
            rows=version.rows,
            columns=version.columns,
            target=_target(parsed["contract"]),
            notes=[
                *(f"{counted(n, 'note')} on reading, see untrusted.notes." for n in [len(parsed["notes"])] if n),
                *compared.notes,
            ],
            digest=version.digest,
            existing=version.created_at != tx.now,
            next=f"validate_data with dataset {reference}.",
            untrusted={
                "notes": parsed["notes"][:20],
                **parsed["preview"],
                **compared.apart,
            },
        )
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(reference)
    return answer


def _target(contract: dict[str, Any]) -> str | None:
    for column in contract["columns"]:
        if column["role"] == "target":
            return token(column["name"], "") or None
    return None
