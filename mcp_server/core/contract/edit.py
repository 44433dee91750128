"""Changing a contract by a document, what differs between two contracts, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mcp_server.core.contract.fairness import RateLimits, RateName
from mcp_server.core.contract.model import Column, Contract, Role
from mcp_server.core.contract.overrides import Overrides, apply_overrides
from mcp_server.core.contract.rules import Freshness, RowBounds, Rule, RuleName
from mcp_server.core.labels import closest, label
from mcp_server.errors import DataRejected, InvalidInput

Finite = Annotated[float, Field(allow_inf_nan=False)]

COLUMN_PARTS = (
    *("kind", "role", "unit", "nullable", "minimum", "maximum", "allowed", "pattern", "unique", "personal"),
    "sensitive",
)
_VALUES = frozenset({"minimum", "maximum", "allowed", "pattern"})
_REMOVABLE = frozenset({"unit", "minimum", "maximum", "allowed", "pattern"})


class ColumnChange(BaseModel):
    """What changes about a column: a part that is given is set, null removes it, one that isn't given stays."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["category", "text"] | None = None
    role: Role | None = None
    unit: Annotated[str, Field(max_length=64)] | None = None
    nullable: bool | None = None
    minimum: Finite | None = None
    maximum: Finite | None = None
    allowed: list[str] | None = None
    pattern: str | None = None
    unique: bool | None = None
    personal: bool | None = None
    sensitive: bool | None = None


class RuleChange(BaseModel):
    """A rule, but for its name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    expression: Annotated[str, Field(min_length=1, max_length=500)]
    severity: Literal["fail", "warn", "info"] = "fail"


class ContractChange(BaseModel):
    """What changes about a contract; what isn't given stays, and null removes.

    Args:
        columns: by name; only columns that are there.
        rules: by name; a new name adds a rule.
        unique_together: all groups of columns that are unique together, in place of those before.
        fairness: by rate; what isn't given of a rate's limits goes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    columns: dict[str, ColumnChange] = Field(default_factory=dict)
    rules: dict[RuleName, RuleChange | None] = Field(default_factory=dict)
    unique_together: list[list[str]] | None = None
    freshness: Freshness | None = None
    row_bounds: RowBounds | None = None
    fairness: dict[RateName, RateLimits | None] | None = None


LONGEST_REASON = 240
_PATTERNED = "it isn't of the form that this takes; names of rules are small letters, digits and _, a letter first"

_CHANGE = TypeAdapter(ContractChange)


def read_change(document: Mapping[str, Any]) -> ContractChange:
    """A change from JSON, such as `{"columns": {"elo": {"minimum": 0, "pattern": null}}, "rules": {"old": null}}`.

    Raises:
        InvalidInput: a part that isn't known, with what was probably meant; or a value that a part doesn't take.
    """
    _known(document, ContractChange.model_fields, "a contract")
    columns = document.get("columns")
    for name, change in columns.items() if isinstance(columns, Mapping) else ():
        if isinstance(change, Mapping):
            _known(change, COLUMN_PARTS, "a column")
            for part in change:
                if part == "role" and change[part] == "sensitive":
                    raise InvalidInput("sensitive is no role.", hint='It\'s a part by itself: {"sensitive": true}.')
                if change[part] is None and part not in _REMOVABLE:
                    raise InvalidInput(
                        f"{part} of {label(str(name))!r} can't be removed.", hint=f"Give {part} a value."
                    )
    try:
        return _CHANGE.validate_python(dict(document))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False, include_context=False)[0]
        parts = [part for part in first["loc"] if part != "[key]"]
        where = ".".join(label(str(part)) if isinstance(part, int) else repr(label(part)) for part in parts)
        what = _PATTERNED if first["type"] == "string_pattern_mismatch" else first["msg"][:LONGEST_REASON]
        raise InvalidInput(
            f"The change isn't well formed at {where}: {what}.",
            hint="A part is set by its value and removed by null; docs/guides/contracts.md has each part.",
        ) from None


def to_document(change: ContractChange) -> dict[str, Any]:
    """A change as JSON; `read_change` gives an equal change back."""
    return change.model_dump(mode="json", exclude_unset=True)


def edit(contract: Contract, change: ContractChange) -> Contract:
    """The contract with a change: what was given is stated from now on, and no longer inferred.

    Raises:
        InvalidInput: an unknown column or rule; the hint says what was probably meant.
        DataRejected: `E_CONTRACT` or `E_EXPRESSION`: the changed contract contradicts itself.
    """
    for name in change.columns:
        contract.column(name)
    columns = tuple(
        _changed(column, change.columns[column.name]) if column.name in change.columns else column
        for column in contract.columns
    )
    given = change.model_fields_set
    fields: dict[str, Any] = {**dict(contract), "columns": columns, "rules": _rules(contract, change)}
    if "unique_together" in given:
        fields["unique_together"] = tuple(tuple(group) for group in change.unique_together or ())
    fields |= {name: getattr(change, name) for name in ("freshness", "row_bounds") if name in given}
    if "fairness" in given:
        fields["fairness"] = _limits(contract, change)
    roles = {name: one.role for name, one in change.columns.items() if one.role is not None}
    # What depends on roles is judged once they're settled.
    later = fields.pop("freshness")
    try:
        edited = Contract(**fields)
        if roles:
            edited = apply_overrides(edited, Overrides(roles=_with_key(edited, roles)))
        return Contract(**{**dict(edited), "freshness": later})
    except ValidationError as invalid:
        _refuse("The changed contract isn't well formed", invalid)


@dataclass(frozen=True, slots=True)
class ContractDifference:
    """A part of a contract that two contracts say otherwise.

    Args:
        column: None where it's about the whole contract.
        part: `minimum`, `role`, `rule no_ties`...; `column` where one of the contracts lacks the column.
        before, after: JSON values, None where one says nothing; may hold text from data.
    """

    column: str | None
    part: str
    before: Any
    after: Any

    def to_list(self) -> list[Any]:
        """Column, part, before, after: for an answer's untrusted half."""
        return [None if self.column is None else label(self.column), self.part, _short(self.before), _short(self.after)]


def differences(before: Contract, after: Contract) -> list[ContractDifference]:
    """What differs, in the columns' order and then of the whole; nothing for equal contracts.

    How sure an inferred part is makes no difference. Allowed values are told as `removed` and `added`; values of
    personal columns are hidden.
    """
    found: list[ContractDifference] = []
    old, new = ({column.name: column for column in contract.columns} for contract in (before, after))
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            found.append(ContractDifference(name, "column", _kind(old.get(name)), _kind(new.get(name))))
            continue
        for part in (*COLUMN_PARTS, "source"):
            one, other = getattr(old[name], part), getattr(new[name], part)
            if one == other:
                continue
            if part in _VALUES and (old[name].personal or new[name].personal):
                one, other = "hidden", "hidden"
            elif part == "allowed" and one is not None and other is not None:
                one, other = {"removed": sorted(set(one) - set(other))}, {"added": sorted(set(other) - set(one))}
            found.append(ContractDifference(name, part, _plain(one), _plain(other)))
    rules = [{rule.name: rule for rule in contract.rules} for contract in (before, after)]
    for name in dict.fromkeys([*rules[0], *rules[1]]):
        first, second = rules[0].get(name), rules[1].get(name)
        if first != second:
            found.append(ContractDifference(None, f"rule {name}", _rule(first), _rule(second)))
    for rate in dict.fromkeys([*before.fairness, *after.fairness]):
        limits = before.fairness.get(rate), after.fairness.get(rate)
        if limits[0] != limits[1]:
            found.append(ContractDifference(None, f"fairness {rate}", *map(_plain, limits)))
    for part in ("derived", "row_filter", "unique_together", "freshness", "row_bounds"):
        one, other = getattr(before, part), getattr(after, part)
        if one != other:
            found.append(ContractDifference(None, part, _plain(one), _plain(other)))
    return found


def change_between(before: Contract, after: Contract) -> ContractChange:
    """The change that makes `before` say what `after` says about the columns that both have.

    `edit(edited, change_between(edited, original))` takes an edit back, but for how sure inferred parts were.

    Raises:
        DataRejected: `E_CONTRACT`: a column is of another kind, which no change of a contract brings about.
    """
    old = {column.name: column for column in before.columns}
    columns: dict[str, dict[str, Any]] = {}
    for column in after.columns:
        if column.name not in old:
            continue
        parts = {
            part: _plain(getattr(column, part))
            for part in COLUMN_PARTS
            if getattr(column, part) != getattr(old[column.name], part)
        }
        if parts.get("kind", "text") not in ("text", "category"):
            _contradiction(
                f"{label(column.name)!r} is of the kind {old[column.name].kind}, not {column.kind}.",
                "A contract's kinds follow the table: import or derive the column anew.",
            )
        if parts:
            columns[column.name] = parts
    document: dict[str, Any] = {"columns": columns}
    rules = [{rule.name: rule for rule in contract.rules} for contract in (before, after)]
    document["rules"] = {name: None for name in rules[0] if name not in rules[1]} | {
        name: _rule(rule) for name, rule in rules[1].items() if rules[0].get(name) != rule
    }
    for part in ("unique_together", "freshness", "row_bounds"):
        if getattr(before, part) != getattr(after, part):
            document[part] = _plain(getattr(after, part)) or None
    if before.fairness != after.fairness:
        document["fairness"] = dict.fromkeys(before.fairness) | {
            rate: _plain(limits) for rate, limits in after.fairness.items()
        }
    return read_change(document)


def _known(given: Iterable[Any], parts: Iterable[str], of: str) -> None:
    names = list(parts)
    for name in given:
        if name not in names:
            near = closest(str(name), names)
            raise InvalidInput(
                f"{label(str(name))!r} isn't a part of {of}.", hint=f"{near} The parts are {', '.join(names)}.".strip()
            )


def _changed(column: Column, change: ColumnChange) -> Column:
    given = change.model_fields_set - {"role"}
    parts: dict[str, Any] = {part: getattr(change, part) for part in given}
    if parts.get("allowed") is not None:
        parts["allowed"] = tuple(sorted(set(parts["allowed"])))
    if parts.get("kind") == "text":
        parts.setdefault("allowed", None)
    inferred = {part: sure for part, sure in column.inferred.items() if part not in parts}
    try:
        return Column.model_validate(dict(column) | parts | {"inferred": inferred})
    except ValidationError as invalid:
        _refuse(f"The change of {label(column.name)!r} doesn't fit", invalid)


def _rules(contract: Contract, change: ContractChange) -> tuple[Rule, ...]:
    rules = {rule.name: rule for rule in contract.rules}
    for name, rule in change.rules.items():
        if rule is not None:
            rules[name] = Rule(name=name, expression=rule.expression, severity=rule.severity)
        elif rules.pop(name, None) is None:
            raise InvalidInput(
                f"There is no rule {name!r} to remove.",
                hint=closest(name, rules) or "The contract's resource lists them.",
            )
    return tuple(rules.values())


def _limits(contract: Contract, change: ContractChange) -> dict[RateName, RateLimits]:
    """The limits on groups after the change; null in place of all of them removes them all."""
    if change.fairness is None:
        return {}
    changed = {**contract.fairness, **change.fairness}
    return {rate: limits for rate, limits in changed.items() if limits is not None}


def _with_key(contract: Contract, roles: dict[str, Role]) -> dict[str, Role]:
    """A key that is stated would replace the one before: here it joins it."""
    if "key" not in roles.values():
        return roles
    joined: dict[str, Role] = {name: "key" for name in contract.key if name not in roles}
    return joined | roles


def _refuse(what: str, invalid: ValidationError) -> NoReturn:
    first = invalid.errors(include_input=False, include_url=False)[0]
    reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else str(first["msg"])[:120].lower()
    _contradiction(f"{what}: {reason}.", "describe_data shows each column's kind and range.")


def _contradiction(message: str, hint: str) -> NoReturn:
    raise DataRejected("E_CONTRACT", message, hint=hint)


def _kind(column: Column | None) -> str | None:
    return None if column is None else column.kind


def _rule(rule: Rule | None) -> dict[str, str] | None:
    return None if rule is None else {"expression": rule.expression, "severity": rule.severity}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


_MOST_LISTED = 20


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return label(value, 200)
    if isinstance(value, list):
        listed = [_short(part) for part in value[:_MOST_LISTED]]
        return [*listed, f"and {len(value) - _MOST_LISTED} more"] if len(value) > _MOST_LISTED else listed
    if isinstance(value, dict):
        return {label(str(name)): _short(part) for name, part in value.items()}
    return value
