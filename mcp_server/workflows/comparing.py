"""Is one model better than another, on rows that neither was trained on."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find as find_dataset
from mcp_server.workflows.model_answers import Compared

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import DatasetVersion, ModelVersion

SEED = 0


async def compare(
    app: App,
    call: CallContext,
    first: str,
    second: str | None,
    column: str | None,
    dataset: str | None,
    picture: bool,
) -> Compared:
    """Compare the first model with another, or with forecasts that stand in a column.

    Raises:
        InvalidInput: not exactly one of second and column, other tasks or targets, or no rows that both may answer.
    """
    if (second is None) == (column is None):
        raise InvalidInput("Give either second or column.", hint="A second name@version, or a column of forecasts.")
    ours = await _model(app, first)
    theirs = await _model(app, second) if second is not None else None
    if theirs is not None and (ours.task, ours.target) != (theirs.task, theirs.target):
        raise InvalidInput(
            "The two models don't predict the same target.", hint="Compare versions that were trained for one target."
        )
    table = await find_dataset(app, dataset or ours.dataset)
    models = [ours] if theirs is None else [ours, theirs]
    storage = await app.storage()
    arguments: dict[str, Any] = {
        "path": str(await storage.artefacts.local_path(table.artefact)),
        "contract": table.contract,
        "forms": [str(await storage.artefacts.local_path(model.artefact)) for model in models],
        "held_out": [await _held_out(storage, model, table) for model in models],
        "names": [f"{model.name}@{model.version}" for model in models],
        "column": column,
        "picture": picture,
        "seed": SEED,
    }
    found = await (await app.compute()).run("compare", arguments, timeout=call.remaining(), progress=call.report)
    other = f"{theirs.name}@{theirs.version}" if theirs is not None else "the column's forecasts"
    answer = Compared(
        first=f"{ours.name}@{ours.version}",
        second=other,
        rows=found["rows"],
        left_out=found["left_out"],
        verdict=found["verdict"],
        sentence=found["sentence"],
        metrics=found["metrics"],
        cost=found["cost"],
        next=_next(found["verdict"], ours, theirs),
        untrusted={"column": column, "dataset": f"{table.name}@{table.version}"} if column else None,
    )
    for encoded in found["pictures"]:
        answer.with_picture(base64.b64decode(encoded))
    return answer


async def _model(app: App, reference: str) -> ModelVersion:
    """The record, once the version may answer: nothing runs that wasn't verified."""
    from mcp_server.storage import models

    loaded = await (await app.predictors()).get(reference)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        return await models.get(tx, loaded.name, loaded.version)


async def _held_out(storage: Storage, model: ModelVersion, table: DatasetVersion) -> dict[str, str]:
    """How to tell the rows of the table that the model never saw.

    Of the very table that it was trained on: the rows that were held out. Of any other: those unlike each row that it
    was fitted or calibrated on.
    """
    same = model.manifest["data"]["artefact"] == table.artefact
    name = "test_rows.json" if same else "seen_rows.bin"
    return {name: str(await storage.artefacts.local_path(model.manifest["files"][name]))}


def _next(verdict: str, ours: ModelVersion, theirs: ModelVersion | None) -> str:
    mine = f"{ours.name}@{ours.version}"
    if theirs is None:
        return f"verify_model with model {mine}, then predict."
    other = f"{theirs.name}@{theirs.version}"
    if verdict == "better":
        return f"predict with model {mine}."
    if verdict == "worse":
        return f"predict with model {other}."
    for model, name in ((ours, mine), (theirs, other)):
        if model.metrics["algorithm"] == "linear":
            return f"No reason to prefer either by its forecasts: take {name}, the linear one, which is simpler."
    return f"No reason to prefer either, {mine} or {other}: keep the one in use."
