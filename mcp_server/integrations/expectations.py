"""Suites of Great Expectations, run by the library itself (extra `gx`) on a table in memory.

A suite is a document of a stranger. What of it could run code, fetch something or read elsewhere isn't run, and is
listed with the reason: expectations beyond those known here, row conditions (pandas evaluates them as Python) and
parameters. The library is imported on the first call, which takes seconds: call this in a computing child.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from typing import Any

import polars as pl

from mcp_server.errors import Unsupported

MOST_ROWS = 20
_LIBRARY = "great_expectations"
_IGNORED = frozenset({"batch_id", "result_format", "catch_exceptions"})
_COLUMNS = ("column", "column_A", "column_B")
_NAMES = """
column_distinct_values_to_be_in_set column_distinct_values_to_contain_set column_distinct_values_to_equal_set
column_max_to_be_between column_mean_to_be_between column_median_to_be_between column_min_to_be_between
column_most_common_value_to_be_in_set column_pair_values_a_to_be_greater_than_b column_pair_values_to_be_equal
column_pair_values_to_be_in_set column_proportion_of_non_null_values_to_be_between
column_proportion_of_unique_values_to_be_between column_stdev_to_be_between column_sum_to_be_between column_to_exist
column_unique_value_count_to_be_between column_value_lengths_to_be_between column_value_lengths_to_equal
column_value_z_scores_to_be_less_than column_values_to_be_between column_values_to_be_in_set
column_values_to_be_in_type_list column_values_to_be_null column_values_to_be_of_type column_values_to_be_unique
column_values_to_match_regex column_values_to_match_regex_list column_values_to_match_strftime_format
column_values_to_not_be_in_set column_values_to_not_be_null column_values_to_not_match_regex
column_values_to_not_match_regex_list compound_columns_to_be_unique multicolumn_sum_to_equal
select_column_values_to_be_unique_within_record table_column_count_to_be_between table_column_count_to_equal
table_columns_to_match_ordered_list table_columns_to_match_set table_row_count_to_be_between table_row_count_to_equal
"""
_KNOWN = frozenset(f"expect_{name}" for name in _NAMES.split())
_OF_NO_VALUE = frozenset(
    f"expect_column_{name}"
    for name in (
        *("to_exist", "values_to_be_null", "values_to_not_be_null", "proportion_of_non_null_values_to_be_between"),
        *("values_to_be_of_type", "values_to_be_in_type_list"),
        *("values_to_be_unique", "proportion_of_unique_values_to_be_between", "unique_value_count_to_be_between"),
    )
)
"""What may be asked of a personal column: the answers of any other, one after another, would spell out its cells."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the library said of one expectation.

    Args:
        place: of the expectation in the suite, from 0.
        kind: its type, one of those known here; empty where it isn't known.
        columns: that it names and the table has.
        holds: None where it wasn't run or couldn't be judged.
        severity: `critical`, `warning` or `info`.
        unexpected, elements: values that break it, of how many that it looked at; None for one about the whole.
        observed: the number that it measured, if it's one.
        rows: the first that break it, from 1.
        why: a sentence of ours where it wasn't run.
    """

    place: int
    kind: str
    columns: tuple[str, ...] = ()
    holds: bool | None = None
    severity: str = "critical"
    unexpected: int | None = None
    elements: int | None = None
    observed: float | None = None
    rows: tuple[int, ...] = ()
    why: str = ""


def judge(
    frame: pl.DataFrame, expectations: Sequence[dict[str, Any]], *, personal: Collection[str] = ()
) -> list[Judged]:
    """Run a suite.

    Args:
        personal: columns of whose values nothing is asked.
        expectations: each with type (or expectation_type), kwargs and perhaps severity, as the library writes them.
    Returns:
        one for each, in their order.
    Raises:
        Unsupported: the library isn't installed.
    """
    library = _library()
    found: dict[int, Judged] = {}
    ready = []
    for place, expectation in enumerate(expectations):
        kind = expectation.get("type", expectation.get("expectation_type"))
        why = refused(kind, expectation.get("kwargs"), frame.columns, personal)
        if why is None:
            made = _made(library, place, str(kind), expectation)
            why = None if made is not None else "it isn't well formed for the library"
            ready += [made] if made is not None else []
        if why is not None:
            found[place] = Judged(place, kind if isinstance(kind, str) and kind in _KNOWN else "", why=why)
    if ready:
        for result in _validated(library, frame, ready):
            one = _read(result, frame.columns)
            found[one.place] = one
    return [found[place] for place in sorted(found)]


def refused(kind: object, kwargs: object, columns: Sequence[str], personal: Collection[str] = ()) -> str | None:
    """Why an expectation isn't run; None where it is.

    >>> refused("expect_column_values_to_be_null", {"column": "a", "row_condition": "a > 1"}, ["a"])
    'its row condition would be evaluated as code'
    """
    if not isinstance(kind, str) or not isinstance(kwargs, dict):
        return "it isn't an expectation in JSON"
    if kind not in _KNOWN:
        return "it's not of a kind that is run here"
    if kwargs.get("row_condition") is not None or kwargs.get("condition_parser") is not None:
        return "its row condition would be evaluated as code"
    if any(_nested(value) for value in kwargs.values()):
        return "it has a parameter or an object where a value belongs"
    named = [kwargs[name] for name in _COLUMNS if name in kwargs]
    listed = kwargs.get("column_list", kwargs.get("column_set"))
    named += listed if isinstance(listed, list) and not kind.startswith("expect_table") else []
    if kind != "expect_column_to_exist" and any(name not in columns for name in named):
        return "it names a column that the table lacks"
    if kind not in _OF_NO_VALUE and any(name in personal for name in named):
        return "it asks about values of a personal column"
    return None


def _nested(value: object) -> bool:
    """Whether an object is in it anywhere: the library evaluates `{"$PARAMETER": ...}`."""
    return isinstance(value, dict) or (isinstance(value, list) and any(_nested(part) for part in value))


def _library() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    try:
        return import_module(_LIBRARY)
    except ImportError:
        raise Unsupported(
            "Great Expectations isn't installed beside Courtside, so suites can't be run.",
            hint="Install courtside[gx], or use a step contract of prepare_data with great_expectations.",
        ) from None


def _made(library: Any, place: int, kind: str, expectation: dict[str, Any]) -> Any:
    """The library's own object, or None where it refuses the arguments."""
    kwargs = {name: value for name, value in expectation["kwargs"].items() if name not in _IGNORED}
    severity = expectation.get("severity")
    given = {"severity": severity} if severity in ("critical", "warning", "info") else {}
    try:
        suite = library.ExpectationSuite(
            name="suite", expectations=[{"type": kind, "kwargs": kwargs, "meta": {"place": place}, **given}]
        )
    except (library.exceptions.GreatExpectationsError, ValueError, TypeError):
        return None
    return suite.expectations[0]


def _validated(library: Any, frame: pl.DataFrame, expectations: list[Any]) -> Any:
    context = library.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": _as_pandas(frame)})
    suite = library.ExpectationSuite(name="suite", expectations=expectations)
    form = {"result_format": "SUMMARY", "partial_unexpected_count": MOST_ROWS}
    return batch.validate(suite, result_format=form).results


def _read(result: Any, columns: Sequence[str]) -> Judged:
    config = result.expectation_config
    kwargs, told = config.kwargs, result.result
    listed = kwargs.get("column_list", kwargs.get("column_set")) or []
    named = [kwargs[name] for name in _COLUMNS if kwargs.get(name) in columns] + [c for c in listed if c in columns]
    # Where it failed to judge, the library tells of each failure under the id of what it was measuring.
    judged = not result.success and not told and config.type != "expect_column_to_exist"
    observed = told.get("observed_value")
    number = float(observed) if _is_number(observed) else None
    return Judged(
        place=config.meta["place"],
        kind=config.type,
        columns=tuple(dict.fromkeys(named)),
        holds=None if judged else bool(result.success),
        severity=str(getattr(config.severity, "value", config.severity)),
        unexpected=_count(told.get("unexpected_count")),
        elements=_count(told.get("element_count")),
        observed=number,
        rows=tuple(int(row) + 1 for row in told.get("partial_unexpected_index_list") or ())[:MOST_ROWS],
        why="the library couldn't judge it on this table" if judged else "",
    )


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, bool | str) and isfinite(float(value))


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _as_pandas(frame: pl.DataFrame) -> Any:
    """The table as the library wants it: the types that an export of a contract names."""
    pandas = import_module("pandas")
    columns = {}
    for at, values in enumerate(frame.iter_columns()):
        cells = values.to_list()
        if values.dtype.is_integer():
            made = pandas.Series(pandas.array(cells, dtype="Int64")) if values.null_count() else pandas.Series(cells)
        elif values.dtype.is_float():
            made = pandas.Series(values.to_numpy())
        elif values.dtype == pl.Boolean:
            made = pandas.Series(pandas.array(cells, dtype="boolean"))
        elif values.dtype.base_type() == pl.Datetime:
            # Without the zone, which is UTC: the library compares no type that has one.
            made = pandas.Series(values.dt.replace_time_zone(None).to_numpy())
        else:
            made = pandas.Series(cells, dtype="object")
        columns[at] = made
    table = pandas.DataFrame(columns)
    table.columns = frame.columns
    return table
