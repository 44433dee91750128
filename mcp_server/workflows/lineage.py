"""Where something comes from and what was made of it: data set versions, models and predictions."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcp_server.core.labels import label
from mcp_server.core.names import parse_reference
from mcp_server.errors import NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.label_answers import earlier
from mcp_server.workflows.reply import counted, token

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion, ModelVersion
    from mcp_server.storage.transaction import Transaction

MOST_LISTED = 20
MOST_ANCESTORS = 20
MOST_DRAWN = 8
"""Data set versions in a picture, the nearest ones; of what was made from one, half of that."""
DRAWING_SECONDS = 30.0
LONGEST = 256
# Of a source: what is ours to say, and what a file or a person called it.
_FACTS = ("kind", "digest", "md5", "bytes", "rows", "format", "encoding", "mode")
_NAMED = ("name", "tracked_by", "files", "uri", "url", "query", "plan")
_SOURCES = {
    "file": "a file",
    "files": "several files",
    "text": "inline text",
    "url": "an address",
    "sql": "a query",
    "dvc": "a file under DVC",
}


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
    return (await _traced(app, reference)).whole()


async def _traced(app: App, reference: str) -> _Told:
    from mcp_server.storage import models, predictions

    storage = await app.storage()
    async with storage.database.reading() as tx:
        if reference.partition("@")[2] in models.ALIASES:
            # A stage is a model's alone, and another version has it tomorrow.
            reference = _reference(await models.named(tx, reference))
        told = _Told(reference)
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
            told.asked += list(told.models)
            found = await _dataset(tx, told, reference)
            told.asked_data = None if found is None else f"{found.name}@{found.version}"
    if not told.anything:
        raise NotFound(
            "No data set, model or prediction has that reference.",
            hint="Write name@version, or a prediction's id; search_models and describe_data list the names.",
        )
    return told


class _Told:
    """The document as it grows; each thing is told once."""

    def __init__(self, reference: str) -> None:
        self.document: dict[str, Any] = {"reference": reference}
        self.asked: list[str] = []
        self.asked_data: str | None = None
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
    from mcp_server.storage import models

    name, version = parse_reference(reference)
    try:
        record = await models.get(tx, name, version)
    except NotFound:
        await _gone(tx, told, "models", reference)
        return
    told.models[_reference(record)] = await _facts(tx, record)
    parameters = record.manifest.get("parameters", {})
    features = parameters.get("features", [])[:MOST_LISTED]
    told.apart(
        f"model {record.name}@{record.version}",
        {"target": record.target, "features": features, "test": parameters.get("test")},
    )
    found = await _dataset(tx, told, record.dataset)
    if found is not None:
        told.models[_reference(record)]["data_unchanged"] = found.digest == record.manifest.get("data", {}).get(
            "digest"
        )


async def _facts(tx: Transaction, record: ModelVersion) -> dict[str, Any]:
    from mcp_server.storage import predictions

    return {
        "digest": record.digest,
        "task": record.task,
        "trained_at": record.created_at.isoformat(timespec="seconds"),
        "by": record.created_by,
        "run": record.run_id,
        "seed": record.manifest.get("parameters", {}).get("seed"),
        "algorithm": record.metrics.get("algorithm"),
        "code": record.manifest.get("code"),
        "made_from": record.dataset,
        "data_digest": record.manifest.get("data", {}).get("digest"),
        "predictions": await predictions.count(tx, model=record.name, version=record.version),
    }


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


async def picture(app: App, reference: str) -> bytes:
    """The same as a PNG: sources, versions, runs, models and predictions, each below what it was made from.

    Raises:
        NotFound: as for `trace`.
    """
    arguments = await graph(app, reference)
    done = await (await app.compute()).run("draw_lineage", arguments, timeout=DRAWING_SECONDS)
    return base64.b64decode(done["picture"])


async def graph(app: App, reference: str) -> dict[str, Any]:
    """What the picture shows: nodes (fields of `charts.lineage.Node`), edges (pairs of ids), title and subtitle."""
    from mcp_server.storage import models

    told = await _traced(app, reference)
    asked = None if told.asked_data is None else told.datasets[told.asked_data]
    trained = dict(told.models)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        for name in asked["models"][: MOST_DRAWN // 2] if asked else ():
            trained[name] = await _facts(tx, await models.get(tx, *parse_reference(name)))
    drawn = _Drawn()
    drawn.data(told)
    made = told.document.get("prediction")
    for name, facts in trained.items():
        drawn.model(name, facts, asked=name in told.asked, but=0 if made is None else 1)
    if made is not None:
        drawn.add(made["id"], "prediction", made["id"], made["at"][:16].replace("T", " "), asked=True)
        drawn.edges.append((f"model {made['model']}", made["id"]))
    title, subtitle = _said(told, drawn, trained)
    return {"nodes": list(drawn.nodes.values()), "edges": drawn.edges, "title": title, "subtitle": subtitle}


@dataclass
class _Drawn:
    """Boxes (the fields of `charts.lineage.Node`) and what leads from one to another, as they're gathered."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    sources: int = 0

    def add(self, id: str, kind: str, name: str, said: str = "", **more: bool) -> None:
        self.nodes.setdefault(id, {"id": id, "kind": kind, "name": name, "said": said, **more})

    def data(self, told: _Told) -> None:
        """The nearest versions with their sources, what stands for the others, and what was made from the asked one."""
        kept = list(told.datasets)[:MOST_DRAWN]
        for name in kept:
            facts = told.datasets[name]
            self.add(f"data {name}", "data", name, counted(facts["rows"], "row"), asked=name == told.asked_data)
            self.source(name, facts["source"], told.untrusted.get(f"data set {name}", {}))
            for parent in _parents(facts):
                if parent in kept:
                    self.edges.append((f"data {parent}", f"data {name}"))
                elif f"data set {parent}" in told.deleted:
                    self.edges.append((f"gone data set {parent}", f"data {name}"))
                else:
                    further = len(told.datasets) - len(kept)
                    self.add("earlier", "more", f"{further} earlier versions" if further > 1 else "earlier versions")
                    self.edges.append(("earlier", f"data {name}"))
        for what, gone in told.deleted.items():
            kind = "model" if what.startswith("model ") else "data"
            self.add(f"gone {what}", kind, what.rpartition(" ")[2], gone["at"][:10], gone=True)
        if told.asked_data is not None:
            self.children(told.asked_data, told.datasets[told.asked_data])

    def source(self, name: str, source: dict[str, Any], named: dict[str, Any]) -> None:
        kind = str(source.get("kind"))
        if kind in ("prepared", "restored"):
            return
        self.sources += 1
        what = _SOURCES.get(kind, "a source").removeprefix("a ").removeprefix("an ")
        title = str(named.get("name") or urlsplit(str(named.get("uri") or named.get("url") or "")).hostname or "")
        size = [_size(source["bytes"])] if isinstance(source.get("bytes"), int) else []
        # A name that could pass for a sentence isn't drawn.
        self.add(f"source {name}", "source", token(title, what), ", ".join([*([what] if title else []), *size]))
        self.edges.append((f"source {name}", f"data {name}"))

    def children(self, name: str, facts: dict[str, Any]) -> None:
        shown = facts["children"][: MOST_DRAWN // 2]
        for child in shown:
            self.add(f"data {child}", "data", child)
            self.edges.append((f"data {name}", f"data {child}"))
        for kind, count in (("versions", len(shown)), ("models", min(len(facts["models"]), MOST_DRAWN // 2))):
            further = facts["counts"]["children" if kind == "versions" else kind] - count
            if further:
                self.add(f"further {kind}", "more", counted(further, f"more {kind[:-1]}"))
                self.edges.append((f"data {name}", f"further {kind}"))

    def model(self, name: str, facts: dict[str, Any], *, asked: bool, but: int) -> None:
        """A version with its run and the number of its predictions, but for so many that are drawn themselves."""
        run = f"run {facts['run']}"
        self.add(run, "run", facts["run"], facts["trained_at"][:10])
        self.add(f"model {name}", "model", name, facts["algorithm"] or "", asked=asked)
        data = facts["made_from"]
        for start in (f"data {data}", f"gone data set {data}"):
            if start in self.nodes and (start, run) not in self.edges:
                self.edges.append((start, run))
        self.edges.append((run, f"model {name}"))
        if facts["predictions"] > but:
            noun = "other prediction" if but else "prediction"
            self.add(f"predictions {name}", "prediction", counted(facts["predictions"] - but, noun), "stored")
            self.edges.append((f"model {name}", f"predictions {name}"))


def _said(told: _Told, drawn: _Drawn, trained: dict[str, Any]) -> tuple[str, str]:
    """The finding, and what else there is to say; sentences of ours with names that were checked."""
    from_sources = f"comes from {counted(drawn.sources, 'source')}"
    made = told.document.get("prediction")
    if made is not None or told.asked:
        model = made["model"] if made is not None else told.asked[0]
        facts = told.models.get(model)
        title = f"This prediction was made by {model}" if made is not None else model
        if facts is not None:
            title += f"{',' if made is not None else ' was'} trained on {facts['made_from']}"
            title += f", which {from_sources}" if facts["made_from"] in told.datasets and drawn.sources else ""
    elif told.asked_data is not None:
        through = len(told.datasets) - 1
        title = f"{told.asked_data} {from_sources if drawn.sources else 'and what led to it'}"
        title += f" through {counted(through, 'version')}" if through and drawn.sources else ""
    else:
        title = "It was deleted"
    counts = told.datasets[told.asked_data]["counts"] if told.asked_data is not None else {"children": 0, "models": 0}
    predictions = sum(facts["predictions"] for facts in trained.values())
    said = [
        f"{counted(counts['children'], 'version')} made from it" if counts["children"] else "",
        f"{counted(counts['models'], 'model')} trained on it" if counts["models"] else "",
        f"{counted(predictions, 'prediction')} stored" if predictions and made is None else "",
    ]
    return title, "; ".join(part for part in said if part)


def _parents(facts: dict[str, Any]) -> list[str]:
    joined = [one["dataset"] for one in facts.get("inputs", [])]
    return list(dict.fromkeys([*([facts["made_from"]] if facts["made_from"] else []), *joined]))


def _size(count: int) -> str:
    """Bytes in a few figures.

    >>> _size(420), _size(48_231), _size(1_234_567)
    ('420 bytes', '48 kB', '1.2 MB')
    """
    for size, unit in ((10**9, "GB"), (10**6, "MB")):
        if count >= size:
            return f"{count / size:.2g} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{count / 1_000:.0f} kB" if count >= 1_000 else f"{count} bytes"


def made_from(record: DatasetVersion) -> str:
    """Where a version comes from, in a sentence of ours; names of files aren't in it."""
    source = record.source
    erased = sum(int(one["rows"]) for one in source.get("erased", []))
    if source.get("kind") == "prepared":
        line = f"Made by a plan of {counted(len(source['plan']), 'step')} from {_together(record.parents)}."
    elif source.get("kind") == "restored":
        line = f"Restored from {_together(record.parents)}."
    else:
        what = _SOURCES.get(str(source.get("kind")), "a source")
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
