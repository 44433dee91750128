"""Suites of Great Expectations as JSON (0.18 and 1.x): written and read as documents, without the library."""

from __future__ import annotations

import json
from typing import Any, Literal, NoReturn

from pydantic import ValidationError

from mcp_server.core.contract.foreign import (
    MAX_BYTES,
    Exported,
    Foreign,
    from_search,
    hidden,
    lost,
    number,
    of_document,
    refusal,
    texts,
    whole,
)
from mcp_server.core.contract.model import Column, Contract, Part
from mcp_server.core.contract.rules import Rule
from mcp_server.core.expressions import Kind, parse
from mcp_server.core.expressions.nodes import Compare, Name
from mcp_server.core.labels import label
from mcp_server.errors import DataRejected

Severity = Literal["fail", "warn", "info"]

# Kind to pandas' types, as the library compares them: nullable ones by the names of their classes, and instants only
# without a zone.
_TYPES: dict[Kind, list[str]] = {
    "integer": ["int64", "Int64", "Int64Dtype"],
    "number": ["float64", "Float64", "Float64Dtype"],
    "boolean": ["bool", "boolean", "BooleanDtype"],
    "text": ["str", "object", "string"],
    "date": ["date"],
    "datetime": ["datetime64[ns]", "datetime64[us]", "datetime64[ns, UTC]", "datetime64[us, UTC]"],
}
_SEVERITIES: dict[Severity, str] = {"fail": "critical", "warn": "warning", "info": "info"}
_GREATER = "expect_column_pair_values_a_to_be_greater_than_b"
_EQUAL = "expect_column_pair_values_to_be_equal"


def to_great_expectations(contract: Contract, name: str) -> Exported:
    """The contract as a suite in the form of version 1.

    Args:
        name: of the suite.
    """
    expectations = [
        _expectation(
            "expect_table_columns_to_match_ordered_list", column_list=[column.name for column in contract.columns]
        )
    ]
    for column in contract.columns:
        expectations += _written(hidden(column), contract)
    expectations += [
        _expectation("expect_compound_columns_to_be_unique", column_list=list(group))
        for group in contract.unique_together
    ]
    bounds = contract.row_bounds
    if bounds is not None:
        expectations.append(
            _expectation("expect_table_row_count_to_be_between", min_value=bounds.minimum, max_value=bounds.maximum)
        )
    left = list(lost(contract))
    for rule in contract.rules:
        written = _rule(rule)
        if written is None:
            left.append(f"rule {rule.name}")
        else:
            expectations.append(written)
    suite = {"name": name, "expectations": expectations, "meta": {"great_expectations_version": "1.0.0"}}
    return Exported(json.dumps(suite, indent=1, ensure_ascii=False), tuple(left))


def from_great_expectations(text: str) -> Foreign:
    """What a suite says, of the parts that a contract has.

    Expectations that hold for most rows only, that are switched off for some, or that a contract has no word for aren't
    carried.

    Raises:
        DataRejected: `E_CONTRACT`: it isn't a suite in JSON, or larger than 512 kB.
    """
    reader = _Reader()
    for expectation in read_suite(text):
        reader.read(expectation)
    return reader.foreign()


def _expectation(
    kind: str, *, severity: str = "critical", meta: dict[str, Any] | None = None, **kwargs: Any
) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": meta or {}, "severity": severity}


def _written(column: Column, contract: Contract) -> list[dict[str, Any]]:
    def grave(*parts: Part) -> str:
        """What was inferred is a warning there too."""
        given = [part for part in parts if getattr(column, part) is not None]
        return "critical" if any(contract.states(column, part) for part in given) else "warning"

    about: dict[str, Any] = {"column": column.name}
    types = _TYPES["text" if column.kind == "category" else column.kind]
    found = [_expectation("expect_column_values_to_be_in_type_list", **about, type_list=types)]
    if not column.nullable:
        found.append(_expectation("expect_column_values_to_not_be_null", **about))
    if column.unique:
        found.append(_expectation("expect_column_values_to_be_unique", **about))
    if column.minimum is not None or column.maximum is not None:
        found.append(
            _expectation(
                "expect_column_values_to_be_between",
                severity=grave("minimum", "maximum"),
                **about,
                min_value=column.minimum,
                max_value=column.maximum,
            )
        )
    if column.allowed is not None:
        found.append(
            _expectation(
                "expect_column_values_to_be_in_set", severity=grave("allowed"), **about, value_set=list(column.allowed)
            )
        )
    if column.pattern is not None:
        found.append(
            _expectation(
                "expect_column_values_to_match_regex", severity=grave("pattern"), **about, regex=whole(column.pattern)
            )
        )
    return found


def _rule(rule: Rule) -> dict[str, Any] | None:
    """A comparison of two columns; nothing else of the language has a word there."""
    match parse(rule.expression).root:
        case Compare(">" | ">=" as operator, Name(one), Name(other)):
            kind, more = _GREATER, {"or_equal": operator == ">="}
        case Compare("<" | "<=" as operator, Name(other), Name(one)):
            kind, more = _GREATER, {"or_equal": operator == "<="}
        case Compare("==", Name(one), Name(other)):
            kind, more = _EQUAL, {}
        case _:
            return None
    return _expectation(
        kind,
        severity=_SEVERITIES[rule.severity],
        meta={"rule": rule.name, "expression": rule.expression},
        column_A=one,
        column_B=other,
        **more,
        ignore_row_if="either_value_is_missing",
    )


class _Reader:
    """Collects what expectations say."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._columns: dict[str, dict[str, Any]] = {}
        self._groups: list[list[str]] = []
        self._rules: dict[str, dict[str, str]] = {}
        self._bounds: dict[str, int] = {}
        self._left: list[str] = []
        self._listed: list[str] = []

    def read(self, expectation: dict[str, Any]) -> None:
        kind = expectation.get("type", expectation.get("expectation_type"))
        kwargs = expectation.get("kwargs")
        if not isinstance(kind, str) or not isinstance(kwargs, dict):
            _refuse()
        always = kwargs.get("mostly") in (None, 1, 1.0) and not kwargs.get("row_condition")
        if not always or not self._take(kind, kwargs, expectation):
            column = kwargs.get("column")
            self._left.append(label(kind) if column is None else f"{label(str(column))}: {label(kind)}")

    def foreign(self) -> Foreign:
        for name in self._kinds:
            # A suite says what must not be missing; about the others it says nothing.
            self._columns.setdefault(name, {})
        document = {
            "columns": self._columns,
            "rules": self._rules,
            "unique_together": self._groups,
            "row_bounds": self._bounds,
        }
        order = [*self._listed, *(name for name in self._kinds if name not in self._listed)]
        kinds: dict[str, Kind] = {
            name: "category" if "allowed" in self._columns[name] else self._kinds[name]
            for name in order
            if name in self._kinds
        }
        return of_document(kinds, document, self._left)

    def _take(self, kind: str, kwargs: dict[str, Any], expectation: dict[str, Any]) -> bool:
        """Whether a contract can say it."""
        match kind:
            case "expect_table_columns_to_match_ordered_list" | "expect_table_columns_to_match_set":
                self._listed = texts(kwargs.get("column_list", kwargs.get("column_set"))) or []
                return bool(self._listed)
            case "expect_column_to_exist":
                return isinstance(kwargs.get("column"), str)
            case "expect_table_row_count_to_be_between":
                bounds = {"minimum": kwargs.get("min_value"), "maximum": kwargs.get("max_value")}
                self._bounds = {name: value for name, value in bounds.items() if type(value) is int}
                return bool(self._bounds)
            case "expect_table_row_count_to_equal" if type(kwargs.get("value")) is int:
                self._bounds = {"minimum": kwargs["value"], "maximum": kwargs["value"]}
                return True
            case "expect_compound_columns_to_be_unique":
                group = texts(kwargs.get("column_list"))
                self._groups += [group] if group else []
                return bool(group)
            case "expect_column_pair_values_a_to_be_greater_than_b" | "expect_column_pair_values_to_be_equal":
                return self._pair(kind, kwargs, expectation)
            case _:
                return self._column(kind, kwargs)

    def _column(self, kind: str, kwargs: dict[str, Any]) -> bool:
        name = kwargs.get("column")
        if not isinstance(name, str):
            return False
        found = self._of_column(name, kind, kwargs)
        if found:
            self._columns.setdefault(name, {}).update(found)
        return found is not None

    def _of_column(self, name: str, kind: str, kwargs: dict[str, Any]) -> dict[str, Any] | None:
        match kind:
            case "expect_column_values_to_be_in_type_list" | "expect_column_values_to_be_of_type":
                types = texts(kwargs.get("type_list", [kwargs.get("type_")])) or []
                fitting = [known for known, written in _TYPES.items() if set(types) & set(written)]
                if len(fitting) != 1:
                    return None
                self._kinds[name] = fitting[0]
                return {}
            case "expect_column_values_to_not_be_null":
                return {"nullable": False}
            case "expect_column_values_to_be_unique":
                return {"unique": True}
            case "expect_column_values_to_be_between":
                if kwargs.get("strict_min") or kwargs.get("strict_max"):
                    return None
                bounds = {"minimum": number(kwargs.get("min_value")), "maximum": number(kwargs.get("max_value"))}
                return {part: value for part, value in bounds.items() if value is not None} or None
            case "expect_column_values_to_be_in_set":
                values = texts(kwargs.get("value_set"))
                return None if values is None else {"allowed": values, "kind": "category"}
            case "expect_column_values_to_match_regex":
                pattern = from_search(kwargs.get("regex"), start=False)
                return None if pattern is None else {"pattern": pattern}
            case _:
                return None

    def _pair(self, kind: str, kwargs: dict[str, Any], expectation: dict[str, Any]) -> bool:
        one, other = kwargs.get("column_A"), kwargs.get("column_B")
        if not isinstance(one, str) or not isinstance(other, str) or _unwritable(one) or _unwritable(other):
            return False
        operator = "==" if kind == _EQUAL else ">=" if kwargs.get("or_equal") else ">"
        severities: dict[str, Severity] = {theirs: ours for ours, theirs in _SEVERITIES.items()}
        severity = severities.get(str(expectation.get("severity")), "fail")
        rule = Rule(
            name=f"pair_{len(self._rules) + 1}",
            expression=f"col({one!r}) {operator} col({other!r})",
            severity=severity,
        )
        rule = _as_it_was(rule, expectation.get("meta"))
        self._rules[rule.name] = {"expression": rule.expression, "severity": rule.severity}
        return True


def _as_it_was(rule: Rule, meta: object) -> Rule:
    """The rule under the name and in the words that we wrote beside it, if they still say the same."""
    if not isinstance(meta, dict):
        return rule
    try:
        ours = Rule(name=meta.get("rule", ""), expression=meta.get("expression", ""), severity=rule.severity)
        one, other = _rule(ours), _rule(rule)
    except (ValidationError, DataRejected):
        return rule
    same = one is not None and other is not None and (one["type"], one["kwargs"]) == (other["type"], other["kwargs"])
    return ours if same else rule


def _unwritable(column: str) -> bool:
    """Whether a name can't stand in an expression."""
    return len(column) > 200 or "\\" in repr(column)


def read_suite(text: str) -> list[dict[str, Any]]:
    """The expectations of a suite in JSON, as they're written; nothing of them is known yet.

    Raises:
        DataRejected: `E_CONTRACT`: it isn't one, or larger than 512 kB.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise refusal("The document is larger than 512 kB.", "Write fewer allowed values.")
    try:
        suite = json.loads(text)
    except (ValueError, RecursionError):
        _refuse()
    expectations = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(expectations, list) or not all(isinstance(one, dict) for one in expectations):
        _refuse()
    return expectations


def _refuse() -> NoReturn:
    raise refusal(
        "The document isn't a suite of Great Expectations in JSON.", "It's an object with a list `expectations`."
    )
