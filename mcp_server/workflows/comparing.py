"""Is one model better than others, on rows that none of them was trained on."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput, NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.comparison_answers import Compared
from mcp_server.workflows.describing import find as find_dataset
from mcp_server.workflows.held_out import held_out_rows
from mcp_server.workflows.reply import Apart, counted

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import DatasetVersion, ModelVersion

# Numbers, dates and times: no words.
_RANGE = re.compile(r"[-+0-9][-+0-9.:eT ]{0,80}")

SEED = 0
MOST = 8
OUTSIDE = "the outside forecast"
DETAILS = ("lead", "pairs", "slices", "groups", "worst", "sets")


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """What compare_models was asked.

    Args:
        models: references, each once.
        column: of outside forecasts: in the data sets, or in `predictions`.
        predictions: a data set of outside forecasts, joined by key.
        datasets: whose rows are compared on; by default those that the first model was trained on.
        margin: the largest difference of the deciding metric that doesn't matter.
        retrain: how often each model's procedure is trained anew, 3 times or more, on random parts or, where the rows
            have a time, on what came before the rows that judge; None for not at all.
        picture: whether pictures are wanted.
    """

    models: list[str]
    column: str | None = None
    predictions: str | None = None
    datasets: list[str] | None = None
    margin: float | None = None
    retrain: int | None = None
    picture: bool = True


async def compare(app: App, call: CallContext, request: ComparisonRequest) -> Compared:
    """Compare models with each other and with forecasts from elsewhere.

    Raises:
        InvalidInput: fewer than two to compare or more than eight, other tasks or targets, or no rows that all may
            answer.
    """
    from_elsewhere = request.column is not None or request.predictions is not None
    if not 2 <= len(request.models) + from_elsewhere <= MOST:
        raise InvalidInput(
            f"2 to {MOST} can be compared.",
            hint="Name more models, a column of forecasts in the data, or a data set of predictions.",
        )
    models = [await _model(app, reference) for reference in request.models]
    names = [_name(model) for model in models]
    if len(set(names)) < len(names):
        raise InvalidInput("A model is named twice.", hint="Name each once.")
    if len({(model.task, model.target) for model in models}) > 1:
        raise InvalidInput(
            "The models don't predict the same target.", hint="Compare versions that were trained for one target."
        )
    tables = [await find_dataset(app, one) for one in request.datasets or [models[0].dataset]]
    if len({table.artefact for table in tables}) < len(tables):
        raise InvalidInput("A data set is named twice.", hint="Name each once.")
    storage = await app.storage()
    outside = await _outside(app, request) if from_elsewhere else None
    kept = [[await held_out_rows(storage, model, table) for model in models] for table in tables]
    arguments: dict[str, Any] = {
        "tables": [
            {
                "dataset": _name(table),
                "path": str(await storage.artefacts.local_path(table.artefact)),
                "contract": table.contract,
                "held_out": held_out,
            }
            for table, held_out in zip(tables, kept, strict=True)
        ],
        "forms": [str(await storage.artefacts.local_path(model.artefact)) for model in models],
        "names": [*names, *([OUTSIDE] if outside is not None else [])],
        "outside": outside,
        "margin": request.margin,
        "picture": request.picture,
        "seed": SEED,
    }
    compute = await app.compute()
    retrained = None
    if request.retrain is not None:
        retraining = _retraining(arguments, models, request.retrain)
        retrained = await compute.run("retrain", retraining, timeout=call.remaining(), progress=call.report)
    found = await compute.run("compare", arguments, timeout=call.remaining(), progress=call.report)
    seconds = await _seconds(storage, models)
    apart = Apart()
    for one in [*found["slices"], *found["worst"]]:
        one["column"] = apart.value(one["column"])
        one["value"] = one["value"] if _RANGE.fullmatch(one["value"]) else apart.value(one["value"])
    for one in found["models"]:
        if one["model"] in seconds:
            one["cost"]["job_seconds"] = seconds[one["model"]]
    answer = Compared(
        models=found["models"],
        rows=found["rows"],
        left_out=found["left_out"],
        verdict=found["verdict"],
        sentence=" ".join(filter(None, (found["sentence"], found["equivalence"]))),
        metrics=found["metrics"],
        details={**{name: found[name] for name in DETAILS}, "retrained": retrained},
        notes=_notes(found, kept, names, outside),
        next=next_step(found, models),
        untrusted=_apart(request, apart),
    )
    for encoded in found["pictures"]:
        answer.with_picture(base64.b64decode(encoded))
    return answer


def _name(record: ModelVersion | DatasetVersion) -> str:
    return f"{record.name}@{record.version}"


async def _model(app: App, reference: str) -> ModelVersion:
    """The record, once the version may answer: nothing runs that wasn't verified."""
    from mcp_server.storage import models

    loaded = await (await app.predictors()).get(reference)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        return await models.get(tx, loaded.name, loaded.version)


async def _outside(app: App, request: ComparisonRequest) -> dict[str, Any]:
    """Where the outside forecasts stand."""
    found: dict[str, Any] = {"column": request.column}
    if request.predictions is not None:
        record = await find_dataset(app, request.predictions)
        found["path"] = str(await (await app.storage()).artefacts.local_path(record.artefact))
    return found


def _retraining(arguments: dict[str, Any], models: Sequence[ModelVersion], runs: int) -> dict[str, Any]:
    """What the operation takes. The outside's procedure isn't known, so that it takes no part."""
    recipes = []
    for model in models:
        parameters = model.manifest.get("parameters", {})
        recipes.append({name: parameters.get(name) for name in ("algorithm", "features", "allow_leaks", "chosen")})
    if len(models) < 2:
        raise InvalidInput("Retraining compares two models or more.", hint="Name more models, or leave retrain out.")
    table = arguments["tables"][0]
    return {
        **{name: table[name] for name in ("path", "contract")},
        "target": models[0].target,
        "recipes": recipes,
        "names": [_name(model) for model in models],
        "runs": runs,
        "margin": arguments["margin"],
        "seed": SEED,
    }


async def _seconds(storage: Storage, models: Sequence[ModelVersion]) -> dict[str, float]:
    """How long the job that trained each model ran, where that is known."""
    from mcp_server.storage import runs

    found = {}
    async with storage.database.reading() as tx:
        for model in models:
            try:
                run = await runs.get(tx, model.run_id)
            except NotFound:
                continue
            if run.ended_at is not None and run.job_id is not None:
                found[_name(model)] = round((run.ended_at - run.started_at).total_seconds(), 1)
    return found


def _notes(
    found: dict[str, Any],
    kept: Sequence[Sequence[dict[str, Any]]],
    names: Sequence[str],
    outside: dict[str, Any] | None,
) -> list[str]:
    """What the rows are, and what can't be told about them."""
    notes = []
    if found["left_out"]:
        notes.append(f"{counted(found['left_out'], 'row')} left out: a model has seen them or their like.")
    if found["untold"]:
        notes.append(f"{counted(found['untold'], 'row')} left out: without an outside forecast.")
    if found["recurring"]:
        notes.append(
            f"{counted(found['recurring'], 'row')} compared on have a key that a model was trained under in another "
            "data set, with other values: if they are the same things, it has seen them."
        )
    unknown = [name for at, name in enumerate(names) if any(not held_out[at] for held_out in kept)]
    if unknown:
        notes.append(f"It can't be told whether {' and '.join(unknown)} was trained on these rows.")
    if outside is not None:
        notes.append("It can't be told whether the outside forecast was made without knowing these rows' outcomes.")
    return notes


def _apart(request: ComparisonRequest, apart: Apart) -> dict[str, Any] | None:
    told: dict[str, Any] = {"column": request.column} if request.column else {}
    return (told | ({"names": apart.names} if apart.names else {})) or None


def next_step(found: dict[str, Any], models: Sequence[ModelVersion]) -> str:
    """What to do with the finding: the leading pair's, or that of all that can't be told from the best."""
    known = {_name(model): model for model in models}
    ranked = [one["model"] for one in found["models"]]
    alike = _like_the_best(found, ranked)
    ours = [name for name in alike if name in known]
    if not ours:
        return f"Use {OUTSIDE}, or train again with other features, more rows or seconds for tuning."
    if len(alike) == 1:
        return f"verify_model with model {ours[0]}, then predict."
    simple = next((name for name in ours if known[name].metrics.get("algorithm") == "linear"), None)
    which = (
        f"either of {alike[0]} and {alike[1]}" if len(alike) == 2 else f"any of {', '.join(alike[:-1])} and {alike[-1]}"
    )
    told = f"No reason to prefer {which} by its forecasts"
    if simple is not None:
        return f"{told}: take {simple}, which is linear and so the simplest; verify_model, then predict."
    return f"{told}: keep the one in use."


def _like_the_best(found: dict[str, Any], ranked: Sequence[str]) -> list[str]:
    """The best and all that no difference from it is found for, the best first."""
    if not found["pairs"]:
        first, second = found["lead"]
        return {"better": [first], "worse": [second]}.get(found["verdict"], list(ranked))
    apart = {one["second"] for one in found["pairs"] if one["first"] == ranked[0] and one["verdict"] == "better"}
    return [name for name in ranked if name not in apart]
