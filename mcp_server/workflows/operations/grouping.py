"""How a model treats groups of rows that it wasn't trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from mcp_server.core.contract.fairness import SHARES
from mcp_server.core.explain import given_inputs
from mcp_server.core.fairness import (
    FairnessReport,
    Group,
    GroupRates,
    Limit,
    Proxy,
    Rate,
    fairness,
    group_rows,
    overall,
    proxies,
)
from mcp_server.core.fairness.rates import SMALL
from mcp_server.core.labels import closest, label
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.judged import judged_rows

Report = Callable[[float, str], None]

MOST_PROXIES = 5
MOST_ASKED = 500
MOST_ASKED_ROWS = 20_000


def judge_groups(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Rates, gaps, gates, conflicts and proxies for the groups of some columns.

    Args:
        arguments: form (path), path, contract and held_out as for `judged_rows`, groups (columns), limits (column to
            its limits, each as `StatedLimit`), personal (columns), seed.
    Returns:
        rows (judged), left_out, positive (the class that counts as selected, or None), columns: for each what
        `_column` tells. A group of a personal column is called by its place.
    Raises:
        InvalidInput: an unknown column, the target, a limit that the model can't be held to.
        BadSample: one group only, or too few rows.
    """
    report(0.1, "Reading")
    document = orjson.loads(Path(arguments["form"]).read_bytes())
    batch = compile_batch(document["form"])
    rows = judged_rows(arguments, document["form"], batch)
    for name in arguments["groups"]:
        _check_column(name, rows.frame.columns, batch.form.target)
    judged = rows.judged
    report(0.3, "Answering")
    forecast = batch.answer(judged).forecast
    told = []
    for at, name in enumerate(arguments["groups"]):
        report(0.4 + 0.5 * at / len(arguments["groups"]), "Comparing groups")
        rng = np.random.default_rng([arguments["seed"], at])
        everywhere = group_rows(rows.frame.get_column(name))
        if name in arguments["personal"]:
            everywhere = [
                replace(one, name=f"group {place}", value=False) for place, one in enumerate(everywhere, start=1)
            ]
        # Groups are formed over all rows, so that they're the same whichever rows are judged.
        groups = sorted((replace(one, rows=one.rows[rows.rows]) for one in everywhere), key=lambda one: -one.rows.sum())
        limits = [Limit(*one) for one in arguments["limits"].get(name, ())]
        found = fairness(rows.target, forecast, groups, task=batch.form.task, limits=limits, rng=rng)
        asked = _asked(judged, name, given_inputs(batch.form), groups, rng)
        told.append(_column(name, found, everywhere, asked))
    classes = batch.form.classes
    return {
        "rows": len(judged),
        "left_out": rows.left_out,
        "positive": classes[1] if classes is not None and len(classes) == 2 else None,
        "columns": told,
    }


def _check_column(name: str, known: list[str], target: str) -> None:
    if name == target:
        raise InvalidInput("The target can't make the groups.", hint="Name a column that describes the rows.")
    if name not in known:
        raise InvalidInput(
            f"The data has no column {label(name)!r}.", hint=closest(name, known) or "describe_data lists the columns."
        )


def _asked(
    judged: pl.DataFrame, name: str, inputs: list[str], groups: list[Group], rng: np.random.Generator
) -> list[Proxy]:
    others = [column for column in inputs if column != name and column in judged.columns]
    drawn = rng.permutation(judged.height)[:MOST_ASKED_ROWS]
    of_drawn = [replace(one, rows=one.rows[drawn]) for one in groups]
    return proxies(judged.select(others[:MOST_ASKED])[drawn.tolist()], of_drawn, least=SMALL, rng=rng)


def _column(name: str, found: FairnessReport, everywhere: list[Group], asked: list[Proxy]) -> dict[str, Any]:
    """One column's groups.

    Returns:
        column, reference, groups (name, value (whether the name is from the data), rows, share, share_of_all, small,
        rates), gaps (rate, group, difference, ratio; those that are detected), conflicts, verdict and gates (where
        limits were stated), proxies, asked (columns).
    """
    values = {one.name for one in everywhere if one.value}
    sizes = {one.name: float(one.rows.mean()) for one in everywhere}
    rulings = [
        {
            "rate": ruling.limit.rate,
            "kind": ruling.limit.kind,
            "limit": ruling.limit.value,
            "group": group,
            "verdict": ruling.verdict,
            "found": [ruling.value, ruling.low, ruling.high],
            "reason": ruling.reason,
        }
        for group, ruling in found.rulings
    ]
    return {
        "column": name,
        "reference": found.reference,
        "groups": [_group(one, one.name in values, sizes[one.name]) for one in found.groups],
        "gaps": [
            {
                "rate": one.rate,
                "group": one.group,
                "difference": [one.difference, one.low, one.high],
                "ratio": None if one.rate not in SHARES else [one.ratio, one.ratio_low, one.ratio_high],
            }
            for one in found.disparities
            if one.detected and one.rate != "base_rate"
        ],
        "conflicts": [
            {
                "group": one.group,
                "base_rates": list(one.base_rates),
                "needed_ratio": one.needed_ratio,
                "observed_ratio": one.observed_ratio,
                "needed_gap": one.needed_gap,
            }
            for one in found.conflicts
        ],
        "verdict": overall([ruling for _, ruling in found.rulings]) if rulings else None,
        "gates": rulings,
        "proxies": [
            {"column": one.column, "group": one.group, "area": [one.area, one.low, one.high]}
            for one in asked
            if one.telling
        ][:MOST_PROXIES],
        "asked": len(asked),
    }


def _group(one: GroupRates, value: bool, share_of_all: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "value": value,
        "rows": one.rows,
        "share": [one.share, one.low, one.high],
        "share_of_all": share_of_all,
        "small": one.small,
        "rates": {name: _rate(rate) for name, rate in one.rates.items()},
    }


def _rate(rate: Rate) -> list[float | int | None]:
    return [rate.value, rate.low, rate.high, rate.rows]
