"""What a data set version is: its profile and its contract, or what it has otherwise than another version."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import CorruptArtefact, InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import against_previous
from mcp_server.workflows.data_answers import Described
from mcp_server.workflows.lineage import made_from
from mcp_server.workflows.reply import counted

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion

MOST_LISTED = 100
MOST_PLAN = 4_000
COMPARING_SECONDS = 120.0
SOURCE = (
    *("kind", "uri", "query", "time", "name", "bytes", "digest", "md5", "tracked_by"),
    *("encoding", "delimiter"),
    *("plan", "plan_digest", "inputs", "seed", "fitted"),
)


async def describe(
    app: App, dataset: str | None, against: str | None = None, *, call: CallContext | None = None
) -> Described:
    """The profile and contract of a version, of the newest where no number is given; without a name, the list.

    Args:
        against: another version: then what differs is told instead, seen from that one.
    Raises:
        NotFound: one of them isn't there.
    """
    if dataset is None:
        if against is not None:
            raise InvalidInput("Against another version, of what?", hint="Give dataset too, such as games@3.")
        return await _listed(app)
    record = await find(app, dataset)
    if against is not None:
        return await _differing(app, record, await find(app, against), call)
    reference = f"{record.name}@{record.version}"
    storage = await app.storage()
    async with storage.database.reading() as tx:
        compared = await against_previous(tx, record)
    return Described(
        dataset=reference,
        rows=record.rows,
        columns=record.columns,
        digest=record.digest,
        created_at=record.created_at.isoformat(timespec="seconds"),
        made_from=made_from(record),
        roles=dict(Counter(column["role"] for column in record.contract["columns"])),
        compatibility=compared.sentence,
        notes=_held_to(record.contract),
        next=f"validate_data with dataset {reference}.",
        untrusted={
            "profile": record.profile,
            "derived": record.contract.get("derived", []),
            "row_filter": record.contract.get("row_filter"),
            **({"sensitive": sensitive} if (sensitive := _sensitive(record.contract)) else {}),
            "source": _source(record.source),
            **compared.apart,
        },
    )


async def _differing(app: App, record: DatasetVersion, other: DatasetVersion, call: CallContext | None) -> Described:
    storage = await app.storage()
    both = [
        {"path": str(await storage.artefacts.local_path(one.artefact)), "contract": one.contract}
        for one in (other, record)
    ]
    found = await (await app.compute()).run(
        "differ",
        {"before": both[0], **both[1]},
        timeout=COMPARING_SECONDS if call is None else call.remaining(),
        progress=None if call is None else call.report,
    )
    names = [{column["name"] for column in one.contract["columns"]} for one in (other, record)]
    reference = f"{record.name}@{record.version}"
    return Described(
        dataset=reference,
        rows=record.rows,
        columns=record.columns,
        digest=record.digest,
        created_at=record.created_at.isoformat(timespec="seconds"),
        made_from=made_from(record),
        difference={
            "against": f"{other.name}@{other.version}",
            "rows": [other.rows, record.rows],
            "columns_added": len(names[1] - names[0]),
            "columns_removed": len(names[0] - names[1]),
            **found["counts"],
            "promises_changed": found["promises"][0],
            "promises_broken": found["breaks"][0],
        },
        next=(
            f"validate_data with dataset {reference}."
            if (record.artefact, record.contract) == (other.artefact, other.contract)
            else "prepare_data with a step restore makes an older version the newest."
        ),
        untrusted={
            "columns": found["columns"],
            "rows": {kind: rows for kind, rows in found["rows"].items() if rows},
            "promises": found["promises"][1],
            "breaks": found["breaks"][1],
        },
    )


async def _listed(app: App) -> Described:
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await datasets.list_page(tx, limit=MOST_LISTED)
    listed = [{"dataset": f"{one.name}@{one.version}", "rows": one.rows, "columns": one.columns} for one in page.items]
    return Described(datasets=listed, next="describe_data with one of them." if listed else "import_data makes one.")


async def find(app: App, dataset: str) -> DatasetVersion:
    """The record of a version; the newest where none is named. Raises NotFound."""
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        return genuine(await datasets.resolve(tx, dataset))


def genuine(record: DatasetVersion) -> DatasetVersion:
    """The record, once its table and contract have the digest that it was stored under.

    Raises:
        CorruptArtefact: they don't: a contract that was rewritten could make a feature of what isn't one.
    """
    if content_digest(record.artefact, record.contract, record.source) != record.digest:
        raise CorruptArtefact(
            f"{record.name}@{record.version} isn't what was imported: its record was changed.",
            hint="Import the data again.",
        )
    return record


def content_digest(artefact: str, contract: dict[str, Any], source: dict[str, Any]) -> str:
    """The digest of a version's content.

    What was erased from it counts: two versions that an erasure made equal stay two, and its note can't be changed.
    So does what it follows, where rows were put back to what an earlier version holds: it's newer all the same.
    """
    from mcp_server.core.canonical import digest

    content: dict[str, Any] = {"table": artefact, "contract": contract}
    return digest(content | {name: source[name] for name in ("erased", "follows") if name in source})


def _sensitive(contract: dict[str, Any]) -> list[str]:
    return [column["name"] for column in contract["columns"] if column.get("sensitive")][:MOST_LISTED]


def _held_to(contract: dict[str, Any]) -> list[str]:
    """Which limits the contract sets to models, in a sentence."""
    if not contract.get("fairness"):
        return []
    limits = [
        f"{rate} {kind} at {'least' if kind == 'ratio' else 'most'} {value:g}"
        for rate, stated in contract["fairness"].items()
        for kind, value in stated.items()
        if value is not None
    ]
    groups = counted(len(_sensitive(contract)), "sensitive column")
    return [f"Models are held, for the groups of {groups}, to: {', '.join(limits)}."]


def _source(source: dict[str, Any]) -> dict[str, Any]:
    told = {name: source[name] for name in SOURCE if name in source}
    if len(str(told.get("plan", ""))) > MOST_PLAN:
        # The order of the steps at least; the record has them whole.
        told["plan"] = [{"do": step["do"]} for step in told["plan"]]
    return told
