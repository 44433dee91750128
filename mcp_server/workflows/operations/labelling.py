"""Which rows of stored tables are most worth labelling, and what labels that came gained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.comparison import Comparison
from mcp_server.core.contract import Contract, from_dict
from mcp_server.core.labelling import (
    Chosen,
    ExpectedGain,
    ForecastKind,
    can_ask_models,
    choose,
    expected_gain,
    measured_gain,
)
from mcp_server.core.labelling.gain import LEAST_LABELS
from mcp_server.core.labelling.table import LabelTable, encode, given_columns, label_table
from mcp_server.core.training.prepare import Preparation
from mcp_server.core.training.split import row_moments
from mcp_server.core.training.target import describe_target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import row_digests, stored_table

Report = Callable[[float, str], None]
IntArray = NDArray[np.int64]
Digests = NDArray[np.uint64]

MOST_LEARNED = 3_000
MOST_TRIED = 1_000
MOST_JUDGED = 2_000
MOST_CANDIDATES = 10_000
MOST_CELLS = 20_000_000
# Rows times columns times classes of one fit, so that wide tables are done in time too.
MOST_LEARNED_CELLS, MOST_TRIED_CELLS = 10_000_000, 2_000_000
MOST_MEASURED = 3
ROWS_AT_ONCE = 100_000
# Each use of randomness has its own stream, so that adding one doesn't move the others.
SAMPLE, CHOICE, TRIAL, MEASURE = range(4)


def suggest_labels(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Choose the rows to label, and try out on the labelled rows what labelling gains.

    Args:
        arguments: path, contract, count, seed, and pool: None, or path and contract of the table whose rows are chosen.
    Returns:
        labelled, unlabelled and looked_at (numbers of rows), task: of the models, None where none was asked, rows (row
        from 1, why, uncertainty, disagreement, alike, key, likeliest), expected (or None), untold: why there is none.
    Raises:
        InvalidInput: no row is without a label, or the pool lacks a column.
        BadTarget, TrainingRefused: the data has no target or no feature that can be learned.
    """
    report(0.0, "Reading")
    table = label_table(stored_table(arguments["path"]), from_dict(arguments["contract"]))
    preparation = table.preparation()
    pool = _pool(arguments["pool"], table)
    names = _identity(table, pool, preparation)
    candidates = _different(table, pool, names)
    if not len(candidates):
        raise InvalidInput(
            "No row is left to label: each has a label, or equals one that has.",
            hint="Name a pool: a data set with the same columns and rows without labels.",
        )
    rng = np.random.default_rng([arguments["seed"], SAMPLE])
    width = max(1, preparation.table_encoder().width)
    learned = _sample(table.labelled, _affordable(MOST_LEARNED, MOST_LEARNED_CELLS, width, table.goal), rng)
    looked = _sample(candidates, max(arguments["count"], min(MOST_CANDIDATES, MOST_CELLS // width)), rng)
    matrix, target = encode(preparation, table.frame, learned), table.values[learned]
    report(0.1, "Choosing")
    chosen = choose(
        matrix,
        target,
        encode(preparation, pool.frame, looked),
        table.goal,
        count=arguments["count"],
        rng=np.random.default_rng([arguments["seed"], CHOICE]),
    )
    report(0.3, "Trying out on the labelled rows what labels gain")
    gain = _expected(table, learned, matrix, arguments)
    return {
        "labelled": len(table.labelled),
        "unlabelled": len(candidates),
        "looked_at": len(looked),
        "task": table.goal.task if can_ask_models(target, table.goal) else None,
        "rows": _rows(table, pool, looked, chosen),
        "expected": None if isinstance(gain, str) else asdict(gain),
        "untold": gain if isinstance(gain, str) else None,
    }


def measure_labels(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Measure what the labels of rows that were suggested gained, where they have come.

    Args:
        arguments: path and contract of the table with the new labels, seed, and suggestions: for each id, dataset and
            pool (path and contract, or None), rows from 1, and known: how many had come when it was last measured.
    Returns:
        gains: id to labelled (how many of the rows have a label now), and either metric, before, after, gain, low,
        high, verdict, sentence, judged, or untold: why it can't be told. Of the first three of which more have come.
    """
    contract = from_dict(arguments["contract"])
    frame = stored_table(arguments["path"])
    tables: dict[str, LabelTable] = {}
    gains: dict[str, Any] = {}
    for done, one in enumerate(arguments["suggestions"]):
        report(done / len(arguments["suggestions"]), "Measuring what the new labels gained")
        path = one["dataset"]["path"]
        if path not in tables:
            tables[path] = label_table(stored_table(path), from_dict(one["dataset"]["contract"]))
        rng = np.random.default_rng([arguments["seed"], MEASURE])
        found = _gained(one, tables[path], frame, contract, rng)
        if found is not None:
            gains[one["id"]] = found
        if len(gains) == MOST_MEASURED:
            break
    return {"gains": gains}


def _expected(
    table: LabelTable, learned: IntArray, matrix: NDArray[np.float64], arguments: Mapping[str, Any]
) -> ExpectedGain | str:
    rng = np.random.default_rng([arguments["seed"], TRIAL])
    most = _affordable(MOST_TRIED, MOST_TRIED_CELLS, matrix.shape[1], table.goal)
    tried = _sample(np.arange(len(learned)), most, rng)
    rows = learned[tried]
    return expected_gain(
        matrix[tried],
        table.values[rows],
        table.goal,
        count=arguments["count"],
        labels=len(table.labelled),
        moments=None if table.moments is None else table.moments[rows],
        rng=rng,
    )


def _pool(given: dict[str, Any] | None, table: LabelTable) -> LabelTable:
    """The table whose rows are chosen: the other one, or the same."""
    if given is None:
        return table
    frame, contract = stored_table(given["path"]), from_dict(given["contract"])
    name = table.contract.target
    there = np.zeros(frame.height, dtype=np.bool_)
    if name is not None and name in frame.columns:
        there = frame.get_column(name).is_not_null().to_numpy()
    nothing = np.full(frame.height, np.nan)
    return LabelTable(frame, contract, None, nothing, np.flatnonzero(there), np.flatnonzero(~there), None)


def _identity(table: LabelTable, pool: LabelTable, preparation: Preparation) -> list[str]:
    """The columns by which a row is known again: the key within a data set, else what the models read."""
    return list(table.contract.key) if pool is table and table.contract.key else given_columns(preparation)


def _different(table: LabelTable, pool: LabelTable, names: list[str]) -> IntArray:
    """The rows without a label that aren't the same as one with a label; a key tells them apart by itself."""
    if pool is table and table.contract.key:
        return table.unlabelled
    known = _digests(table.frame[table.labelled.tolist()], names)
    mine = _digests(pool.frame[pool.unlabelled.tolist()], names)
    return pool.unlabelled[~np.isin(mine, known)]


def _digests(frame: pl.DataFrame, names: list[str]) -> Digests:
    """What tells each row apart, a part of the table at a time: its text is much larger than the table."""
    parts = [row_digests(part, names) for part in frame.iter_slices(ROWS_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _affordable(rows: int, cells: int, width: int, goal: ForecastKind) -> int:
    """How many rows can be learned from in the time that there is."""
    return min(rows, max(LEAST_LABELS, cells // (width * max(1, goal.classes))))


def _sample(rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _rows(table: LabelTable, pool: LabelTable, looked: IntArray, chosen: Chosen) -> list[dict[str, Any]]:
    rows = looked[chosen.rows]
    # Values of personal columns are never shown, nor are personal classes.
    names = [name for name in pool.contract.key if not pool.contract.column(name).personal]
    keys = pool.frame[rows.tolist()].select(names).rows() if names else [()] * len(rows)
    classes = None
    if table.target is not None and not table.contract.column(table.target.name).personal:
        classes = table.target.classes
    return [
        {
            "row": int(rows[at]) + 1,
            "why": chosen.why[at],
            "uncertainty": round(float(chosen.uncertainty[at]), 3),
            "disagreement": round(float(chosen.disagreement[at]), 3),
            "alike": int(chosen.alike[at]),
            "key": [_plain(value) for value in keys[at]],
            "likeliest": [] if classes is None else [classes[index] for index in chosen.likeliest[at]],
        }
        for at in range(len(rows))
    ]


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _gained(
    one: dict[str, Any], table: LabelTable, new: pl.DataFrame, new_contract: Contract, rng: np.random.Generator
) -> dict[str, Any] | None:
    name = table.contract.target
    if name is None or name not in new.columns or new_contract.column(name).kind != table.contract.column(name).kind:
        return None
    preparation = table.preparation()
    pool = _pool(one["pool"], table)
    names = _identity(table, pool, preparation)
    if any(column not in new.columns for column in names):
        return None
    places = np.array(one["rows"], dtype=np.int64) - 1
    labels = _labels(_digests(pool.frame[places.tolist()], names), _digests(new, names), new.get_column(name))
    there = labels.is_not_null().to_numpy()
    told: dict[str, Any] = {"labelled": int(there.sum())}
    if told["labelled"] <= one["known"]:
        return None
    width = max(1, preparation.table_encoder().width)
    known = _sample(table.labelled, _affordable(MOST_JUDGED, MOST_TRIED_CELLS, width, table.goal), rng)
    came = places[there]
    both = pl.concat([table.frame.get_column(name)[known.tolist()], labels.filter(pl.Series(there))]).to_frame(name)
    if both.get_column(name).n_unique() < 2:
        return told | {"untold": "There is still but one label, so that nothing can be learned."}
    target = describe_target(both, table.contract)
    goal = ForecastKind(target.task, 0 if target.classes is None else len(target.classes))
    matrix = np.concatenate([encode(preparation, table.frame, known), encode(preparation, pool.frame, came)])
    moments = _moments(table, pool, known, came)
    values = target_values(both, table.contract, target)
    found = measured_gain(matrix, values, goal, before=len(known), moments=moments, rng=rng)
    return told | ({"untold": found} if isinstance(found, str) else _as_json(found))


def _labels(wanted: Digests, there: Digests, labels: pl.Series) -> pl.Series:
    """The label of each wanted row; missing where none came, or where equal rows have different ones."""
    came = pl.DataFrame({"row": there, "label": labels}).drop_nulls("label")
    agreed = came.group_by("row").agg(pl.col("label").first(), pl.col("label").n_unique().alias("different"))
    agreed = agreed.filter(pl.col("different") == 1)
    return pl.DataFrame({"row": wanted}).join(agreed, on="row", how="left", maintain_order="left").get_column("label")


def _moments(table: LabelTable, pool: LabelTable, known: IntArray, came: IntArray) -> IntArray | None:
    """When the rows happened; None where the tables have no time in common."""
    if table.moments is None:
        return None
    if pool is table:
        return np.concatenate([table.moments[known], table.moments[came]])
    time = table.contract.time
    if time is None or time not in pool.frame.columns or pool.frame.schema[time] != table.frame.schema[time]:
        return None
    together = pl.concat([table.frame[known.tolist()].select(time), pool.frame[came.tolist()].select(time)])
    return row_moments(together, table.contract)


def _as_json(found: Comparison) -> dict[str, Any]:
    told = found.primary
    return {
        "metric": told.metric,
        "before": told.second,
        "after": told.first,
        "gain": told.difference,
        "low": told.low,
        "high": told.high,
        "verdict": told.verdict,
        "sentence": told.sentence,
        "judged": found.rows,
    }
