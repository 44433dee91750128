"""What a person says about a table's columns, against what was inferred."""

from __future__ import annotations

from typing import Annotated, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mcp_server.core.contract.lineage import deciding, tainted
from mcp_server.core.contract.model import Column, Contract, Role
from mcp_server.core.labels import label
from mcp_server.errors import BadTarget, DataRejected

_TIMELY = frozenset({"date", "datetime", "integer"})
# A contract is shown, signed and copied into models: of a personal column it holds no value.
_NO_VALUES = {"minimum": None, "maximum": None, "allowed": None}


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Overrides(BaseModel):
    """Statements about columns, by name; what isn't stated stays as it is.

    Args:
        target, time: the column with that role.
        key: the columns that together name a row; an empty tuple says that none do.
        roles: column to role.
        units: column to unit.
        personal: column to whether it's data about a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str | None = None
    time: str | None = None
    key: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = None
    roles: dict[str, Role] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    personal: dict[str, bool] = Field(default_factory=dict)


def apply_overrides(contract: Contract, overrides: Overrides) -> Contract:
    """Apply statements, and what follows from them.

    Columns that the target is computed from become `known_after` by themselves, and so does whatever is computed from
    a `known_after` column or from the target. A new target, time or key makes a feature of the old one.

    Raises:
        InvalidInput: an unknown column name; the hint says what was probably meant.
        DataRejected: `E_CONTRACT`: statements that contradict each other, the column's kind or the lineage.
        BadTarget: the target is a date.
    """
    stated = _stated(contract, overrides)
    replaced: set[Role] = {role for role in stated.values() if role in {"target", "time"}}
    if overrides.key is not None or "key" in stated.values():
        replaced.add("key")
    roles: dict[str, Role] = {}
    for column in contract.columns:
        inferred: Role = "feature" if column.role in replaced else column.role
        roles[column.name] = stated.get(column.name, inferred)
    _settle(contract, roles, stated)
    columns = tuple(
        Column.model_validate(
            column.model_dump()
            | {
                "role": roles[column.name],
                "unit": overrides.units.get(column.name, column.unit),
                "personal": overrides.personal.get(column.name, column.personal),
                **(_NO_VALUES if overrides.personal.get(column.name) else {}),
            }
        )
        for column in contract.columns
    )
    # Through the validator, and with everything else that the contract says.
    return Contract(**{**dict(contract), "columns": columns})


def _stated(contract: Contract, overrides: Overrides) -> dict[str, Role]:
    """Every stated role, once; each name and kind checked."""
    for name in (*overrides.units, *overrides.personal):
        contract.column(name)
    pairs: list[tuple[str, Role]] = list(overrides.roles.items())
    pairs += [(name, "key") for name in overrides.key or ()]
    if overrides.target is not None:
        pairs.append((overrides.target, "target"))
    if overrides.time is not None:
        pairs.append((overrides.time, "time"))
    stated: dict[str, Role] = {}
    for name, role in pairs:
        kind = contract.column(name).kind
        if stated.setdefault(name, role) != role:
            _contradiction(f"{label(name)!r} is stated to be both {stated[name]} and {role}.", "State one role.")
        if role == "time" and kind not in _TIMELY:
            _contradiction(
                f"{label(name)!r} can't be the time column: its kind is {kind}.",
                "The time column holds dates, instants, or whole numbers such as a season.",
            )
        if role == "target" and kind in {"date", "datetime"}:
            raise BadTarget(f"{label(name)!r} can't be the target: it's a {kind}.", hint="Derive a number or a class.")
    for single in ("target", "time"):
        if list(stated.values()).count(single) > 1:
            _contradiction(f"Two columns are stated to be the {single}.", f"Choose one {single}.")
    if overrides.key is not None and any(role == "key" and name not in overrides.key for name, role in pairs):
        _contradiction("`key` and `roles` name different key columns.", "State the key in one place.")
    return stated


def _settle(contract: Contract, roles: dict[str, Role], stated: dict[str, Role]) -> None:
    """Make `known_after` what must be, in place."""
    target = next((name for name, role in roles.items() if role == "target"), None)
    expressions = contract.expressions
    sources = deciding(target, expressions, contract.ingredients) if target is not None else frozenset()
    # What a preparing step dropped still taints what was computed from it, but has no role of its own.
    for name in sources & roles.keys():
        _demote(name, roles, stated, "the target is computed from it")
    after = {name for name, role in roles.items() if role in {"known_after", "target"}} | sources
    for name in tainted(after, expressions, contract.ingredients) & roles.keys():
        _demote(name, roles, stated, "it's computed from a column that is known only after the event")


def _demote(name: str, roles: dict[str, Role], stated: dict[str, Role], reason: str) -> None:
    if roles[name] != "feature":
        return
    if name in stated:
        _contradiction(f"{label(name)!r} can't be a feature: {reason}.", "Leave its role out, or state known_after.")
    roles[name] = "known_after"


def _contradiction(message: str, hint: str) -> NoReturn:
    raise DataRejected("E_CONTRACT", message, hint=hint)
