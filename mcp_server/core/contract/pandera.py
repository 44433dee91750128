"""pandera's YAML (0.20 to 0.35, pandas schemas): written and read as a document, without pandera."""

from __future__ import annotations

from typing import Any

import yaml

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
from mcp_server.core.contract.model import Column, Contract
from mcp_server.core.expressions import Kind
from mcp_server.core.labels import label
from mcp_server.core.plain_yaml import read_plain_yaml

# Kind to pandas' type where nothing is missing, and where something is.
_DTYPES: dict[Kind, tuple[str, str]] = {
    "integer": ("int64", "Int64"),
    "number": ("float64", "float64"),
    "boolean": ("bool", "boolean"),
    "category": ("str", "str"),
    "text": ("str", "str"),
    "date": ("date", "date"),
    "datetime": ("datetime64[ns, UTC]", "datetime64[ns, UTC]"),
}
_OF_COLUMNS = frozenset({"dtype", "nullable", "unique", "required", "name", "checks"})
_OF_SCHEMAS = frozenset({"schema_type", "api", "version", "columns", "unique"})
_DEFAULTS: dict[str, Any] = {
    "required": True,
    "report_duplicates": "all",
    **dict.fromkeys(("coerce", "strict", "regex", "ordered"), False),
    **dict.fromkeys(("unique_column_names", "add_missing_columns", "drop_invalid_rows"), False),
    **dict.fromkeys(("index", "name", "title", "description", "checks", "dtype", "default", "metadata"), None),
}


def to_pandera(contract: Contract) -> Exported:
    """The contract as a schema in YAML, for `pandera.io.from_yaml`."""
    columns = {column.name: _written(hidden(column)) for column in contract.columns}
    schema: dict[str, Any] = {"schema_type": "dataframe", "api": "pandas", "columns": columns}
    left = [*lost(contract), *(f"rule {rule.name}" for rule in contract.rules)]
    if contract.unique_together:
        schema["unique"] = list(contract.unique_together[0])
        left += [f"columns that are unique together: {', '.join(group)}" for group in contract.unique_together[1:]]
    if contract.row_bounds is not None:
        left.append("number of rows")
    text = yaml.dump(schema, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return Exported(text, tuple(left))


def from_pandera(text: str) -> Foreign:
    """What a pandera schema says, of the parts that a contract has.

    Raises:
        DataRejected: `E_CONTRACT`: it isn't a schema in YAML, or larger than 512 kB.
    """
    schema = _loaded(text)
    columns = schema.get("columns")
    if schema.get("schema_type") != "dataframe" or not isinstance(columns, dict):
        raise refusal("The document isn't a pandera schema of a data frame.", "Write it with pandera's to_yaml.")
    left = [label(str(name)) for name, value in schema.items() if name not in _OF_SCHEMAS and _says(name, value)]
    kinds: dict[str, Kind] = {}
    changes: dict[str, dict[str, Any]] = {}
    for name, column in columns.items():
        if not isinstance(name, str) or not isinstance(column, dict):
            raise refusal("A column of the schema has no name or no description.", "Write it with pandera's to_yaml.")
        if column.get("regex"):
            left.append(f"{label(name)}: names by pattern")
            continue
        change = _read(name, column, left)
        kind = _kind(column.get("dtype"), change)
        if kind is None:
            left.append(f"{label(name)}: dtype")
        else:
            kinds[name] = kind
        changes[name] = change
    group = texts(schema.get("unique"))
    if group is not None and len(group) == 1 and group[0] in changes:
        changes[group[0]]["unique"] = True
    return of_document(
        kinds, {"columns": changes, "unique_together": [group] if group and len(group) > 1 else None}, left
    )


def _written(column: Column) -> dict[str, Any]:
    described: dict[str, Any] = {"dtype": _DTYPES[column.kind][column.nullable]}
    if column.nullable:
        described["nullable"] = True
    if column.unique:
        described["unique"] = True
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        described["in_range"] = {"min_value": low, "max_value": high, "include_min": True, "include_max": True}
    elif low is not None:
        described["greater_than_or_equal_to"] = low
    elif high is not None:
        described["less_than_or_equal_to"] = high
    if column.allowed is not None:
        described["isin"] = list(column.allowed)
    if column.pattern is not None:
        described["str_matches"] = whole(column.pattern)
    return described


def _read(name: str, column: dict[str, Any], left: list[str]) -> dict[str, Any]:
    change: dict[str, Any] = {"nullable": column.get("nullable") is True}
    if column.get("unique") is True:
        change["unique"] = True
    checks = {part: value for part, value in column.items() if part not in _OF_COLUMNS and _says(part, value)}
    checks |= _listed(column.get("checks"))
    if column.get("required") is False:
        left.append(f"{label(name)}: that it may be absent")
    for check, value in checks.items():
        found = _check(check, value)
        if found is None:
            left.append(f"{label(name)}: {label(str(check))}")
        else:
            change |= found
    return change


def _listed(checks: object) -> dict[str, Any]:
    """Checks as older versions wrote them: by name, or as a list of values with options."""
    if isinstance(checks, dict):
        return {str(name): value for name, value in checks.items()}
    found = {}
    for check in checks if isinstance(checks, list) else ():
        if isinstance(check, dict):
            options = check.get("options")
            options = options if isinstance(options, dict) else {}
            values = {part: value for part, value in check.items() if part != "options"}
            found[str(options.get("check_name", "check"))] = values["value"] if list(values) == ["value"] else values
    return found


def _check(check: str, value: Any) -> dict[str, Any] | None:
    """What a check says about a column; None where a contract can't say it."""
    if isinstance(value, dict) and len(value) == 1 and check != "in_range":
        (value,) = value.values()
    match check:
        case "in_range" if isinstance(value, dict):
            open_ended = value.get("include_min") is False or value.get("include_max") is False
            low, high = number(value.get("min_value")), number(value.get("max_value"))
            return None if open_ended or low is None or high is None else {"minimum": low, "maximum": high}
        case "greater_than_or_equal_to" | "ge" if number(value) is not None:
            return {"minimum": number(value)}
        case "less_than_or_equal_to" | "le" if number(value) is not None:
            return {"maximum": number(value)}
        case "isin" if texts(value) is not None:
            return {"allowed": texts(value), "kind": "category"}
        case "str_matches":
            pattern = from_search(value, start=True)
            return None if pattern is None else {"pattern": pattern}
        case _:
            return None


def _kind(dtype: object, change: dict[str, Any]) -> Kind | None:
    name = str(dtype).lower()
    if name.startswith(("datetime64", "timestamp")):
        return "datetime"
    if name.startswith(("int", "uint")):
        return "integer"
    if name.startswith("float"):
        return "number"
    if name.startswith("bool"):
        return "boolean"
    if name == "date":
        return "date"
    if name.startswith(("str", "string", "object", "category")):
        return "category" if "allowed" in change else "text"
    return None


def _says(name: object, value: object) -> bool:
    return not (str(name) in _DEFAULTS and value == _DEFAULTS[str(name)])


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes so that what is written is what is read."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # PyYAML folds these line breaks between single quotes, and reads a space where one stood.
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _loaded(text: str) -> dict[str, Any]:
    hint = "Write it with pandera's to_yaml; aliases aren't read."
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise refusal("The document is larger than 512 kB.", "Write fewer allowed values.")
    try:
        found = read_plain_yaml(text)
    except ValueError:
        raise refusal("The document isn't YAML that can be read.", hint) from None
    if not isinstance(found, dict):
        raise refusal("The document isn't a pandera schema.", hint)
    return found
