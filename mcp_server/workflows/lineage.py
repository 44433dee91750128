"""Where something comes from and what was made of it: data set versions, models and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.core.labels import label
from mcp_server.core.names import parse_reference
from mcp_server.errors import NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.label_answers import earlier
from mcp_server.workflows.reply import counted

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, ModelVersion
    from mcp_server.storage.transaction import Transaction

MOST_LISTED = 20
MOST_ANCESTORS = 20
LONGEST = 256
# Of a source: what is ours to say, and what a file or a person called it.
_FACTS = ("kind", "digest", "bytes", "rows", "format", "encoding", "mode")
_NAMED = ("name", "files", "uri", "url", "query", "plan")


async def trace(app: App, reference: str) -> dict[str, Any]:
    """What a data set version, a model version or a prediction was made from, and what was made from it.

    Args:
        reference: `name@version` (or a name, for the newest), of a data set, a model or both; or a prediction's id.
    Returns:
        `reference`; `prediction`, `models` and `datasets`: from the one asked for to the sources; `deleted`: what is
        gone, with digest and time; text from data under `untrusted`. Lists have at most 20 entries, and a count.
    Raises:
        NotFound: nothing has or had that reference.
    """
    from mcp_server.storage import predictions

    storage = await app.storage()
    told = _Told(reference)
    async with storage.database.reading() as tx:
        if reference.startswith("p_"):
            made = await predictions.get(tx, reference)
            told.document["prediction"] = {
                "id": made.id,
                "at": made.at.isoformat(timespec="seconds"),
                "model": f"{made.model}@{made.version}",
                "model_digest": made.digest,
                "request": made.request_id,
                "by": made.caller,
            }
            await _model(tx, told, f"{made.model}@{made.version}")
        else:
            await _model(tx, told, reference)
            await _dataset(tx, told, reference)
    if not told.anything:
        raise NotFound(
            "No data set, model or prediction has that reference.",
            hint="Write name@version, or a prediction's id; search_models and describe_data list the names.",
        )
    return told.whole()


class _Told:
    """The document as it grows; each thing is told once."""

    def __init__(self, reference: str) -> None:
        self.document: dict[str, Any] = {"reference": reference}
        self.models: dict[str, Any] = {}
        self.datasets: dict[str, Any] = {}
        self.deleted: dict[str, Any] = {}
        self.untrusted: dict[str, Any] = {}

    @property
    def anything(self) -> bool:
        return bool(self.models or self.datasets or self.deleted or "prediction" in self.document)

    def whole(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("models", "datasets", "deleted", "untrusted")}
        return self.document | {name: part for name, part in parts.items() if part}

    def apart(self, what: str, named: dict[str, Any]) -> None:
        """Text from data about something, each piece as a label: the document must stay JSON after it was cleaned."""
        self.untrusted[what] = _labelled(named)


async def _model(tx: Transaction, told: _Told, reference: str) -> None:
    from mcp_server.storage import models, predictions

    name, version = parse_reference(reference)
    try:
        record = await models.get(tx, name, version)
    except NotFound:
        await _gone(tx, told, "models", reference)
        return
    data = record.manifest.get("data", {})
    told.models[f"{record.name}@{record.version}"] = {
        "digest": record.digest,
        "task": record.task,
        "trained_at": record.created_at.isoformat(timespec="seconds"),
        "by": record.created_by,
        "run": record.run_id,
        "seed": record.manifest.get("parameters", {}).get("seed"),
        "algorithm": record.manifest.get("parameters", {}).get("algorithm"),
        "code": record.manifest.get("code"),
        "made_from": record.dataset,
        "data_digest": data.get("digest"),
        "predictions": await predictions.count(tx, model=record.name, version=record.version),
    }
    parameters = record.manifest.get("parameters", {})
    features = parameters.get("features", [])[:MOST_LISTED]
    told.apart(
        f"model {record.name}@{record.version}",
        {"target": record.target, "features": features, "test": parameters.get("test")},
    )
    found = await _dataset(tx, told, record.dataset)
    if found is not None:
        told.models[f"{record.name}@{record.version}"]["data_unchanged"] = found.digest == data.get("digest")


async def _dataset(tx: Transaction, told: _Told, reference: str) -> DatasetVersion | None:
    """The version and what it was made from, breadth first; the version itself, or None where it isn't there."""
    from mcp_server.storage import datasets

    first = None
    waiting = [reference]
    for one in waiting:  # grows meanwhile
        if len(told.datasets) >= MOST_ANCESTORS:
            break
        name, version = parse_reference(one)
        try:
            record = await datasets.get(tx, name, version)
        except NotFound:
            await _gone(tx, told, "datasets", one)
            continue
        first = first or record
        if f"{record.name}@{record.version}" not in told.datasets:
            await _tell(tx, told, record)
            waiting += [parent for parent in record.parents if parent not in waiting]
    return first


async def _tell(tx: Transaction, told: _Told, record: DatasetVersion) -> None:
    from mcp_server.storage import datasets, models, suggestions

    reference = f"{record.name}@{record.version}"
    children = await datasets.children(tx, reference)
    trained = [_reference(one) for one in await models.trained_on(tx, [reference])]
    labels = earlier(await suggestions.newest(tx, record.name, limit=MOST_LISTED), of=reference)
    told.datasets[reference] = {
        "digest": record.digest,
        "rows": record.rows,
        "columns": record.columns,
        "stored_at": record.created_at.isoformat(timespec="seconds"),
        "by": record.created_by,
        "made_from": record.parent,
        "source": {name: record.source[name] for name in _FACTS if name in record.source},
        "children": children[:MOST_LISTED],
        "models": trained[:MOST_LISTED],
        "counts": {"children": len(children), "models": len(trained)},
        **({"labels": labels} if labels else {}),
        **({"inputs": record.source["inputs"][:MOST_LISTED]} if "inputs" in record.source else {}),
        **({"erased": record.source["erased"][-MOST_LISTED:]} if "erased" in record.source else {}),
    }
    named: dict[str, Any] = {name: record.source[name] for name in _NAMED if name in record.source}
    if isinstance(named.get("files"), list):
        named["files"] = named["files"][:MOST_LISTED]
    named |= {"derived": record.contract.get("derived", [])[:MOST_LISTED]} if record.contract.get("derived") else {}
    named |= {"row_filter": record.contract["row_filter"]} if record.contract.get("row_filter") else {}
    if named:
        told.apart(f"data set {reference}", named)


async def _gone(tx: Transaction, told: _Told, kind: str, reference: str) -> None:
    from mcp_server.storage import versions

    name, version = parse_reference(reference)
    gone = None if version is None else await versions.deletion(tx, kind, name, version)
    if gone is not None:
        noun = "data set" if kind == "datasets" else "model"
        told.deleted[f"{noun} {reference}"] = {
            "digest": gone.digest,
            "at": gone.at.isoformat(timespec="seconds"),
            "request": gone.request_id,
        }


def made_from(record: DatasetVersion) -> str:
    """Where a version comes from, in a sentence of ours; names of files aren't in it."""
    source = record.source
    erased = sum(int(one["rows"]) for one in source.get("erased", []))
    if source.get("kind") == "prepared":
        line = f"Made by a plan of {counted(len(source['plan']), 'step')} from {_together(record.parents)}."
    else:
        kind = {"file": "a file", "files": "several files", "text": "inline text", "url": "an address"}
        what = (kind | {"sql": "a query"}).get(str(source.get("kind")), "a source")
        size = f" of {source['bytes']:,} bytes" if isinstance(source.get("bytes"), int) else ""
        digest = f" ({str(source['digest'])[:19]}…)" if "digest" in source else ""
        line = f"Made from {what}{size}{digest}" + (f" and {record.parent}" if record.parent else "") + "."
    return line + (f" {erased:,} rows of persons were erased since." if erased else "")


def _together(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _labelled(value: Any) -> Any:
    if isinstance(value, str):
        return label(value, LONGEST)
    if isinstance(value, dict):
        return {label(str(name), LONGEST): _labelled(part) for name, part in value.items()}
    return [_labelled(part) for part in value] if isinstance(value, list) else value


def _reference(model: ModelVersion) -> str:
    return f"{model.name}@{model.version}"
