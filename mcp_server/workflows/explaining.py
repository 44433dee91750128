"""Why a model answers as it does, and how it treats groups of rows; computed in the child, told short.

A judgement by groups is kept for the model's card. The tool is called read-only all the same: like a line of the
quality history it's an observation, and a server that was started read-only keeps none.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.explanation_answers import Explained
from mcp_server.workflows.held_out import held_out_rows
from mcp_server.workflows.model_answers import decided
from mcp_server.workflows.reply import Apart, counted, number

if TYPE_CHECKING:
    from mcp_server.serving.predictors import Loaded
    from mcp_server.storage.records import DatasetVersion, ModelVersion

SEED = 0
CARRIED = "Shapley values, those of averaged trees carried over from their shares to log-odds,"
MOST_COLUMNS = 3
"""Of one call, by whose groups a model is judged."""
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class ExplainingRequest:
    """What is asked about a model.

    Args:
        rows: whose answers are explained; None to ask about the model as a whole.
        dataset: the rows that it's judged on or held against; None for the data that it was trained on.
        fixed: columns that a change may not touch.
        move: of a model of numbers, the change of its answer that is looked for.
        groups: columns whose groups are compared; an empty list for those that the contract states to be sensitive.
        limits: rate to its limit; see `core.fairness.Limit`.
    """

    model: str
    rows: list[dict[str, Any]] | None
    dataset: str | None
    fixed: list[str]
    move: float | None
    groups: list[str] | None
    limits: dict[str, float]
    picture: bool


async def explain(app: App, call: CallContext, request: ExplainingRequest) -> Explained:
    """Explain rows, judge groups, or else say what matters overall.

    Raises:
        InvalidInput: arguments that don't go together, or a row, column or limit that doesn't fit the model.
        Unverified, NotFound, CorruptArtefact: the model may not answer.
        ComputeFailed: contributions don't add up to the model's answer.
    """
    _check(request)
    loaded = await (await app.predictors()).get(request.model)
    record, table = await _subject(app, loaded, request.dataset)
    storage = await app.storage()
    arguments: dict[str, Any] = {
        "form": str(await storage.artefacts.local_path(record.artefact)),
        "path": str(await storage.artefacts.local_path(table.artefact)),
        "contract": table.contract,
        "personal": sorted(loaded.personal | _personal(table)),
        "name": loaded.reference,
        "picture": request.picture,
        "seed": SEED,
    }
    if request.rows is not None:
        more = {
            "rows": request.rows,
            "unread": sorted(loaded.unread),
            "fixed": request.fixed,
            "move": request.move,
        }
        return _rows(loaded, table, await _run(app, call, "explain_rows", arguments | more))
    arguments["held_out"] = await held_out_rows(storage, record, table)
    if request.groups is None:
        found = await _run(app, call, "explain_overall", arguments)
        return _overall(loaded, _judged(table, found, arguments["held_out"]), found)
    groups = list(dict.fromkeys(request.groups)) or _sensitive(table)
    found = await _run(app, call, "judge_groups", arguments | {"groups": groups, "limits": request.limits})
    if not app.settings.read_only:
        await _keep(app, call, loaded, table, found)
    return _groups(loaded, _judged(table, found, arguments["held_out"]), found)


def _check(request: ExplainingRequest) -> None:
    if request.rows is not None and request.groups is not None:
        raise InvalidInput("Give rows or groups, not both.", hint="They answer two questions: ask them one by one.")
    if request.rows is None and (request.fixed or request.move is not None):
        raise InvalidInput("fixed and move are about rows.", hint="Give the rows whose answers should change.")
    if request.groups is None and request.limits:
        raise InvalidInput("limits are about groups.", hint="Name the columns whose groups are compared.")


async def _subject(app: App, loaded: Loaded, dataset: str | None) -> tuple[ModelVersion, DatasetVersion]:
    from mcp_server.storage import models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        record = await models.get(tx, loaded.name, loaded.version)
    if dataset is None and not record.dataset:
        raise InvalidInput(
            f"{loaded.reference} wasn't trained here, so there are no rows to hold its answers against.",
            hint="Name a dataset with its columns.",
        )
    return record, await find(app, dataset or record.dataset)


def _personal(table: DatasetVersion) -> set[str]:
    return {column["name"] for column in table.contract["columns"] if column.get("personal")}


def _sensitive(table: DatasetVersion) -> list[str]:
    """The columns that the contract states to be sensitive."""
    named = [column["name"] for column in table.contract["columns"] if column.get("sensitive")]
    if not named:
        raise InvalidInput(
            f"The contract of {table.name}@{table.version} states no sensitive column.",
            hint="Name the columns in groups; or state them by a step contract of prepare_data.",
        )
    if len(named) > MOST_COLUMNS:
        raise InvalidInput(
            f"The contract states {len(named)} sensitive columns; one call compares up to {MOST_COLUMNS}.",
            hint="Name some of them in groups, and the others in another call.",
        )
    return named


async def _run(app: App, call: CallContext, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return await (await app.compute()).run(operation, arguments, timeout=call.remaining(), progress=call.report)


async def _keep(app: App, call: CallContext, loaded: Loaded, table: DatasetVersion, found: dict[str, Any]) -> None:
    from mcp_server.storage import assessments

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await assessments.add(
            tx,
            name=loaded.name,
            version=loaded.version,
            dataset=f"{table.name}@{table.version}",
            found=_rounded(found),
            request_id=call.request_id,
        )
        tx.about(f"model:{loaded.reference}")


def _rows(loaded: Loaded, table: DatasetVersion, found: dict[str, Any]) -> Explained:
    apart = Apart()
    told = []
    for at, row in enumerate(found["rows"], start=1):
        one = {"row": at, **row, "value": apart.value(row["value"]), "about": apart.value(row["about"])}
        one["contributions"] = [apart.value(part) for part in row["contributions"]]
        one["flags"] = [{**flag, "column": apart.value(flag["column"])} for flag in row["flags"]]
        if "changes" in row:
            one["changes"] = [
                {**change, "value": apart.value(change["value"]), "changes": apart.value(change["changes"])}
                for change in row["changes"]
            ]
        told.append(_rounded(one))
    form = loaded.predictor.form
    sentence = f"{loaded.reference}: {counted(len(told), 'answer')} explained."
    if form.decision is not None and form.classes is not None:
        sentence += f" {decided(str(apart.value(form.classes[1])), form.threshold)}"
    answer = Explained(
        model=loaded.reference,
        sentence=sentence,
        rows=len(told),
        explanations=told,
        method=_method(loaded, table, found),
        next="Check a change with predict before you rely on it: it says what the model would answer, not what would "
        "happen.",
        untrusted={"names": apart.names} if apart.names else None,
    )
    return _with_picture(answer, found)


def _method(loaded: Loaded, table: DatasetVersion, found: dict[str, Any]) -> str:
    form = loaded.predictor.form
    kind = "Exact Shapley values" if found["exact"] else CARRIED
    told = (
        f"{kind} against {found['background']} rows of {table.name}@{table.version}; with the usual "
        f"answer they add up to the model's own to {found['error']:.0e}."
    )
    factor, shift = found["calibration"]
    if form.calibration.kind == "platt":
        told += f" Calibration then multiplies the log-odds by {number(factor, 3)} and adds {number(shift, 3)}."
    elif form.calibration.kind == "temperature":
        told += f" Calibration then multiplies all log-odds by {number(factor, 3)}, which keeps their order."
    elif form.calibration.kind == "isotonic":
        told += " Calibration then bends the log-odds along a rising curve, which keeps their order."
    elif form.calibration.kind == "unsmoothed":
        told += (
            " They are of its trees' shares with half a tree's vote for each class, which its probability is without."
        )
    elif form.classes is not None:
        told += " The model isn't calibrated, so they lead to its probability directly."
    return told


def _judged(table: DatasetVersion, found: dict[str, Any], held_out: dict[str, Any]) -> str:
    """On which rows, in words."""
    rows = f"{found['rows']:,} rows of {table.name}@{table.version}"
    return f"{rows} that it wasn't trained on" if held_out else f"{rows} (which rows it was trained on isn't known)"


def _overall(loaded: Loaded, where: str, found: dict[str, Any]) -> Explained:
    apart = Apart()
    importance = [_rounded({**one, "column": apart.value(one["column"])}) for one in found["importance"]]
    contributions = [_rounded({**one, "column": apart.value(one["column"])}) for one in found["contributions"]]
    metric = "log loss" if found["metric"] == "log_loss" else "RMSE"
    told = found["telling"]
    leads = f"{importance[0]['column']} matters most; " if told else ""
    leads += f"{told} of {counted(found['asked'], 'column')} can be told from noise."
    method = f"Rise of {metric} when one column is shuffled, 5 times, with 95 % intervals; a column whose information "
    method += f"another one holds too can look unimportant. Contributions: {found['summarised']} rows against "
    method += f"{found['background']}, {'exact' if found['exact'] else 'from averaged trees by way of their shares'}."
    if found["not_shuffled"]:
        method += f" {counted(found['not_shuffled'], 'column')} that hardly move answers weren't shuffled."
    answer = Explained(
        model=loaded.reference,
        sentence=f"{loaded.reference} on {where}: {leads}",
        rows=found["rows"],
        importance=importance,
        contributions=contributions,
        method=method,
        next="explain_model with rows explains single answers; with groups it compares groups.",
        untrusted={"names": apart.names} if apart.names else None,
    )
    return _with_picture(answer, found)


def _groups(loaded: Loaded, where: str, found: dict[str, Any]) -> Explained:
    apart = Apart()
    told = [column_apart(one, apart) for one in found["columns"]]
    verdicts = [one["verdict"] for one in told if one["verdict"] is not None]
    gates = ""
    if verdicts:
        state = "fail" if "fail" in verdicts else "pass" if set(verdicts) == {"pass"} else "can't tell"
        gates = f" Gates: {state}."
    selected = "" if found["positive"] is None else f" Selected means answered {apart.value(found['positive'])}."
    return Explained(
        model=loaded.reference,
        sentence=f"{loaded.reference} on {where}.{gates}{selected}",
        rows=found["rows"],
        fairness=told,
        method="95 % intervals: Wilson for shares, Newcombe for differences, Donner and Zou for ratios. They aren't "
        "corrected for the number of groups.",
        next="Weigh the gaps with someone who knows the decision; no single figure says that a model is fair.",
        untrusted={"names": apart.names} if apart.names else None,
    )


def column_apart(one: dict[str, Any], apart: Apart) -> dict[str, Any]:
    """A column's groups as they are told: rounded, names from data that aren't plain words set apart."""
    shown = {group["name"]: apart.value(group["name"]) if group["value"] else group["name"] for group in one["groups"]}

    def named(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "group": shown.get(part["group"], part["group"])}

    told: dict[str, Any] = _rounded(
        {
            **one,
            "column": apart.value(one["column"]),
            "reference": shown[one["reference"]],
            "groups": [
                {**{part: group[part] for part in group if part != "value"}, "name": shown[group["name"]]}
                for group in one["groups"]
            ],
            "gaps": [named(part) for part in one["gaps"]],
            "conflicts": [named(part) for part in one["conflicts"]],
            "gates": [named(part) for part in one["gates"]],
            "proxies": [{**named(part), "column": apart.value(part["column"])} for part in one["proxies"]],
        }
    )
    return told


def _rounded(value: Any) -> Any:
    """Figures to six significant digits; a change's own values stay as they are, since they must flip the answer."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: part if name in ("before", "after", "value") else _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def _with_picture(answer: Explained, found: dict[str, Any]) -> Explained:
    if found["picture"] is not None:
        answer.with_picture(base64.b64decode(found["picture"]))
    return answer
