"""Why a model answers as it does, and how it treats groups of rows; computed in the child, told short."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.explanation_answers import Explained
from mcp_server.workflows.fairness import (
    Asked,
    arguments_of,
    asked_of,
    column_apart,
    compare_groups,
    rounded,
    subject,
    verdict_of,
)
from mcp_server.workflows.held_out import held_out_rows
from mcp_server.workflows.model_answers import decided
from mcp_server.workflows.reply import Apart, counted, number

if TYPE_CHECKING:
    from mcp_server.serving.predictors import Loaded
    from mcp_server.storage.records import DatasetVersion

CARRIED = "Shapley values, those of averaged trees carried over from their shares to log-odds,"


@dataclass(frozen=True, slots=True)
class ExplainingRequest:
    """What is asked about a model.

    Args:
        rows: whose answers are explained; None to ask about the model as a whole.
        dataset: the rows that it's judged on or held against; None for the data that it was trained on.
        fixed: columns that a change may not touch.
        move: of a model of numbers, the change of its answer that is looked for.
        groups: columns whose groups are compared; an empty list for those that the contract states to be sensitive.
        limits: rate to the least ratio of a share, or to the largest difference of anything else: what if these held,
            beside those of the contract, which hold for its sensitive columns.
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
    record, table = await subject(app, loaded, request.dataset)
    arguments = {**await arguments_of(app, loaded, record, table), "name": loaded.reference, "picture": request.picture}
    if request.rows is not None:
        more = {
            "rows": request.rows,
            "unread": sorted(loaded.unread),
            "fixed": request.fixed,
            "move": request.move,
        }
        return _rows(loaded, table, await _run(app, call, "explain_rows", arguments | more))
    if request.groups is None:
        arguments["held_out"] = await held_out_rows(await app.storage(), record, table)
        found = await _run(app, call, "explain_overall", arguments)
        return _overall(loaded, _judged(table, found, arguments["held_out"]), found)
    asked = asked_of(request.groups, request.limits, table, loaded.predictor.form.task)
    found = await compare_groups(app, call, loaded, record, table, asked.columns, asked.limits, asked.what_if)
    return _groups(loaded, _judged(table, found, found["held_out"]), found, asked)


def _check(request: ExplainingRequest) -> None:
    if request.rows is not None and request.groups is not None:
        raise InvalidInput("Give rows or groups, not both.", hint="They answer two questions: ask them one by one.")
    if request.rows is None and (request.fixed or request.move is not None):
        raise InvalidInput("fixed and move are about rows.", hint="Give the rows whose answers should change.")
    if request.groups is None and request.limits:
        raise InvalidInput("limits are about groups.", hint="Name the columns whose groups are compared.")


async def _run(app: App, call: CallContext, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return await (await app.compute()).run(operation, arguments, timeout=call.remaining(), progress=call.report)


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
        told.append(rounded(one))
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
    importance = [rounded({**one, "column": apart.value(one["column"])}) for one in found["importance"]]
    contributions = [rounded({**one, "column": apart.value(one["column"])}) for one in found["contributions"]]
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


def _groups(loaded: Loaded, where: str, found: dict[str, Any], asked: Asked) -> Explained:
    apart = Apart()
    told = [column_apart(one, apart) for one in found["columns"]]
    held = verdict_of([one["verdict"] for one in told if one["verdict"] is not None])
    what_if = verdict_of([gate["verdict"] for one in told for gate in one.get("what_if", ())])
    gates = "" if held is None else f" Gates of the contract: {held}."
    gates += "" if what_if is None else f" With the limits asked about: {what_if}."
    if asked.unfit:
        gates += f" The contract also limits {', '.join(asked.unfit)}, which this model doesn't have."
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


def _with_picture(answer: Explained, found: dict[str, Any]) -> Explained:
    if found["picture"] is not None:
        answer.with_picture(base64.b64decode(found["picture"]))
    return answer
