"""How to tell which rows a model never saw: what its training kept, and how two data set versions are related."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.errors import NotFound

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import DatasetVersion, ModelVersion
    from mcp_server.storage.transaction import Transaction

MOST_ANCESTORS = 20


async def held_out_rows(storage: Storage, model: ModelVersion, table: DatasetVersion) -> dict[str, Any]:
    """How to tell the rows of the table that the model never saw; nothing where it can't be told.

    Of the very table that it was trained on: the rows that were held out. Of any other: those unlike each row that it
    was fitted or calibrated on, and with its training table those under the keys that were.
    """
    if model.manifest.get("adopted", {}).get("held_out") is False:
        return {}  # trained elsewhere, on nobody knows which rows
    files, data = model.manifest.get("files", {}), model.manifest.get("data", {})
    if data.get("artefact") == table.artefact and "test_rows.json" in files:
        return {"test_rows": str(await storage.artefacts.local_path(files["test_rows.json"]))}
    found: dict[str, Any] = {}
    if "seen_rows.bin" in files:
        found["seen_rows"] = str(await storage.artefacts.local_path(files["seen_rows.bin"]))
    if "test_rows.json" not in files or not any(column["role"] == "key" for column in table.contract["columns"]):
        return found
    async with storage.database.reading() as tx:
        trained_on = await _record(tx, model.dataset)
        if trained_on is None or trained_on.artefact != data.get("artefact"):
            return found
        kin = await _descends(tx, table, f"{trained_on.name}@{trained_on.version}") or await _descends(
            tx, trained_on, f"{table.name}@{table.version}"
        )
    found["trained_on"] = {
        "path": str(await storage.artefacts.local_path(trained_on.artefact)),
        "test_rows": str(await storage.artefacts.local_path(files["test_rows.json"])),
    }
    return {**found, "kin": kin or trained_on.name == table.name}


async def _record(tx: Transaction, reference: str) -> DatasetVersion | None:
    from mcp_server.core.names import parse_reference
    from mcp_server.storage import datasets

    name, version = parse_reference(reference)
    try:
        return await datasets.get(tx, name, version)
    except NotFound:
        return None


async def _descends(tx: Transaction, record: DatasetVersion, ancestor: str) -> bool:
    """Whether a version was made from another one."""
    waiting = list(record.parents)
    for at, one in enumerate(waiting):  # grows meanwhile
        if one == ancestor:
            return True
        parent = await _record(tx, one) if at < MOST_ANCESTORS else None
        if parent is not None:
            waiting += [further for further in parent.parents if further not in waiting]
    return False
