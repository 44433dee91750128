"""How a model treats groups of rows: which are compared, the limits that hold for them, and what was found.

A comparison is kept for the model's card. `explain_model` is called read-only all the same: like a line of the quality
history it's an observation, and a server that was started read-only keeps none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.held_out import held_out_rows
from mcp_server.workflows.reply import Apart, token

if TYPE_CHECKING:
    from mcp_server.core.contract.fairness import RateLimits, RateName, StatedLimit
    from mcp_server.core.gates.fairness import GroupFacts, GroupRuling
    from mcp_server.core.gates.outcome import State
    from mcp_server.serving.predictors import Loaded
    from mcp_server.storage.records import DatasetVersion, ModelVersion

SEED = 0
MOST_COLUMNS = 3
"""Of one call, by whose groups a model is judged."""
_DIGITS = 6
_STATES: dict[str, State] = {"pass": "passed", "fail": "failed", "can't tell": "unknown"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose groups are compared, and what is asked of each.

    Args:
        limits: column to those of the contract.
        what_if: limits that are asked about beside them, of each column.
        unfit: rates that the contract limits and that such a model doesn't have.
    """

    columns: list[str]
    limits: dict[str, list[StatedLimit]]
    what_if: tuple[StatedLimit, ...] = ()
    unfit: tuple[str, ...] = ()


def asked_of(groups: Sequence[str], stated: Mapping[str, float], table: DatasetVersion, task: str) -> Asked:
    """What is asked of a model's groups.

    Args:
        groups: columns; none for those that the contract states to be sensitive.
        stated: rate to the least ratio of a share, or to the largest difference of anything else: what would be if
            these were limits. Those of the contract hold for its sensitive columns all the same.
    """
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.fairness import RATES, SHARES, StatedLimit, stated_limits

    contract = from_dict(table.contract)
    columns = list(dict.fromkeys(groups)) or _sensitive(table, contract.sensitive)
    what_if = tuple(
        StatedLimit(rate, "ratio" if rate in SHARES else "difference", value) for rate, value in sorted(stated.items())
    )
    every = stated_limits(contract.fairness)
    limits = [one for one in every if one.rate in RATES[task]]
    unfit = tuple(dict.fromkeys(one.rate for one in every if one.rate not in RATES[task]))
    return Asked(columns, {name: limits for name in columns if name in contract.sensitive}, what_if, unfit)


async def hold_groups(
    app: App,
    call: CallContext,
    model: str,
    dataset: str | None,
    groups: Sequence[str] | None,
    limits: Mapping[RateName, RateLimits],
) -> list[GroupFacts]:
    """Hold a model to limits on groups, to those of its data's contract, and to those of the judged rows'; kept.

    Args:
        model: `name@version`.
        dataset: whose rows, but those it was trained on; None for its own.
        groups: the columns that `limits` hold for; None for the sensitive ones of these contracts.
    Returns:
        each column with each limit that holds for it; none where nothing is asked.
    Raises:
        Unverified, NotFound, CorruptArtefact, InvalidInput, BadSample: as for `explain`.
    """
    from mcp_server.core.contract.fairness import RATES

    loaded = await (await app.predictors()).get(model)
    record = await _record(app, loaded)
    tables = [await find(app, one) for one in dict.fromkeys([dataset or record.dataset, record.dataset]) if one]
    asked = limits_of(tables, groups, limits)
    if not asked:
        return []
    record, table = await subject(app, loaded, dataset)
    fit = {name: [one for one in every if one.rate in RATES[record.task]] for name, every in asked.items()}
    columns = [name for name, every in fit.items() if every]
    found: dict[str, Any] = {"columns": []}
    if columns:
        found = await compare_groups(app, call, loaded, record, table, columns, fit)
    return _facts(table, record.task, asked, dict(zip(columns, found["columns"], strict=True)))


def limits_of(
    tables: Sequence[DatasetVersion], groups: Sequence[str] | None, limits: Mapping[RateName, RateLimits]
) -> dict[str, list[StatedLimit]]:
    """Column to what holds for its groups: what contracts state for sensitive ones, and `limits` for `groups`."""
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.fairness import stated_limits

    asked: dict[str, list[StatedLimit]] = {}
    sensitive: list[str] = []
    for contract in (from_dict(table.contract) for table in tables):
        sensitive += contract.sensitive
        for name in contract.sensitive if contract.fairness else ():
            asked.setdefault(name, []).extend(stated_limits(contract.fairness))
    if limits and groups is None and not sensitive:
        raise InvalidInput("No contract states a sensitive column.", hint="Name the columns in groups.")
    for name in (sensitive if groups is None else groups) if limits else ():
        asked.setdefault(name, []).extend(stated_limits(limits))
    return {name: list(dict.fromkeys(every)) for name, every in asked.items()}


def _facts(
    table: DatasetVersion, task: str, asked: Mapping[str, Sequence[StatedLimit]], found: Mapping[str, dict[str, Any]]
) -> list[GroupFacts]:
    """What was found of each limit; names from data that aren't plain words appear by their place."""
    from mcp_server.core.gates.fairness import GroupFacts

    apart = Apart()
    told = {name: column_apart(one, apart) for name, one in found.items()}
    places = {column["name"]: at for at, column in enumerate(table.contract["columns"], start=1)}
    facts = []
    for name, every in asked.items():
        shown = token(name, f"column {places.get(name, 'elsewhere')}")
        for limit in every:
            # The comparison rounds what it tells of a limit.
            key = (limit.rate, limit.kind, rounded(limit.value))
            gates = told[name]["gates"] if name in told else []
            rulings = tuple(_ruling(gate) for gate in gates if (gate["rate"], gate["kind"], gate["limit"]) == key)
            if rulings:
                facts.append(GroupFacts(shown, limit, told[name]["reference"], rulings))
            else:
                facts.append(GroupFacts(shown, limit, problem=f"A {task} model has no {limit.rate}."))
    return facts


def _ruling(gate: dict[str, Any]) -> GroupRuling:
    from mcp_server.core.gates.fairness import GroupRuling

    value, low, high = gate["found"]
    return GroupRuling(gate["group"], _STATES[gate["verdict"]], value, low, high, gate["reason"])


async def subject(app: App, loaded: Loaded, dataset: str | None) -> tuple[ModelVersion, DatasetVersion]:
    """The version, and the rows that it's judged on or held against: those of a data set, or its own."""
    record = await _record(app, loaded)
    if dataset is None and not record.dataset:
        raise InvalidInput(
            f"{loaded.reference} wasn't trained here, so there are no rows to hold its answers against.",
            hint="Name a dataset with its columns.",
        )
    return record, await find(app, dataset or record.dataset)


async def _record(app: App, loaded: Loaded) -> ModelVersion:
    from mcp_server.storage import models

    async with (await app.storage()).database.reading() as tx:
        return await models.get(tx, loaded.name, loaded.version)


async def arguments_of(app: App, loaded: Loaded, record: ModelVersion, table: DatasetVersion) -> dict[str, Any]:
    """What the operations need of a model and the rows."""
    storage = await app.storage()
    return {
        "form": str(await storage.artefacts.local_path(record.artefact)),
        "path": str(await storage.artefacts.local_path(table.artefact)),
        "contract": table.contract,
        "personal": sorted(loaded.personal | _personal(table)),
        "seed": SEED,
    }


async def compare_groups(
    app: App,
    call: CallContext,
    loaded: Loaded,
    record: ModelVersion,
    table: DatasetVersion,
    columns: list[str],
    limits: Mapping[str, Sequence[StatedLimit]],
    what_if: Sequence[StatedLimit] = (),
) -> dict[str, Any]:
    """Compare groups in the child, and keep it for the card unless nothing may be written.

    Args:
        limits: column to what holds for it.
        what_if: what is ruled on beside that, of each column; it decides nothing.
    """
    arguments = await arguments_of(app, loaded, record, table)
    arguments["held_out"] = await held_out_rows(await app.storage(), record, table)
    every = {name: dict.fromkeys([*limits.get(name, ()), *what_if]) for name in columns}
    asked = {"groups": columns, "limits": {name: [list(one) for one in some] for name, some in every.items() if some}}
    found = await (await app.compute()).run(
        "judge_groups", arguments | asked, timeout=call.remaining(), progress=call.report
    )
    if what_if:
        for one, name in zip(found["columns"], columns, strict=True):
            one.update(_parted(one["gates"], limits.get(name, ()), what_if))
    if not app.settings.read_only:
        await _keep(app, call, loaded, table, found)
    return {**found, "held_out": arguments["held_out"]}


def _parted(
    gates: list[dict[str, Any]], limits: Sequence[StatedLimit], what_if: Sequence[StatedLimit]
) -> dict[str, Any]:
    """The rulings on what holds, with their verdict, and those on what would be."""
    holding, asked = (
        [gate for gate in gates if (gate["rate"], gate["kind"], gate["limit"]) in some] for some in (limits, what_if)
    )
    return {"gates": holding, "verdict": verdict_of([gate["verdict"] for gate in holding]), "what_if": asked}


def verdict_of(verdicts: Sequence[str]) -> str | None:
    """What several verdicts on groups are together; None of none."""
    if not verdicts:
        return None
    return "fail" if "fail" in verdicts else "pass" if set(verdicts) == {"pass"} else "can't tell"


def column_apart(one: dict[str, Any], apart: Apart) -> dict[str, Any]:
    """A column's groups as they are told: rounded, names from data that aren't plain words set apart."""
    shown = {group["name"]: apart.value(group["name"]) if group["value"] else group["name"] for group in one["groups"]}

    def named(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "group": shown.get(part["group"], part["group"])}

    told: dict[str, Any] = rounded(
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
            **({"what_if": [named(part) for part in one["what_if"]]} if "what_if" in one else {}),
            "proxies": [{**named(part), "column": apart.value(part["column"])} for part in one["proxies"]],
        }
    )
    return told


def rounded(value: Any) -> Any:
    """Figures to six significant digits; a change's own values stay as they are, since they must flip the answer."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: part if name in ("before", "after", "value") else rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def _personal(table: DatasetVersion) -> set[str]:
    return {column["name"] for column in table.contract["columns"] if column.get("personal")}


def _sensitive(table: DatasetVersion, named: Sequence[str]) -> list[str]:
    """The columns that the contract states to be sensitive."""
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
    return list(named)


async def _keep(app: App, call: CallContext, loaded: Loaded, table: DatasetVersion, found: dict[str, Any]) -> None:
    from mcp_server.storage import assessments

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await assessments.add(
            tx,
            name=loaded.name,
            version=loaded.version,
            dataset=f"{table.name}@{table.version}",
            found=rounded(found),
            request_id=call.request_id,
        )
        tx.about(f"model:{loaded.reference}")
