"""Pictures of what was recorded: charts that need no table."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from mcp_server.charts import history, learning, lineage, render, trend
from mcp_server.charts.lettering import plain

Report = Callable[[float, str], None]


def draw_quality(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """The quality history of a data set as a picture.

    Args:
        arguments: name; versions and verdicts, oldest first; rules: name to counts, in the same order.
    Returns:
        picture: PNG as base64.
    """
    failed = sum(verdict == "fail" for verdict in arguments["verdicts"])
    count = len(arguments["versions"])
    spec = trend.trend(
        [trend.Series(rule, tuple(rows)) for rule, rows in arguments["rules"].items()],
        versions=arguments["versions"],
        title=trend.finding(arguments["rules"], arguments["versions"]),
        subtitle=f"{arguments['name']} · {count} {'validation' if count == 1 else 'validations'}, {failed} failed",
        metric="Rows named, or findings without rows",
    )
    return {"picture": base64.b64encode(render.render_png(spec)).decode()}


def draw_history(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """The runs of a model with the best so far, as a picture.

    Args:
        arguments: model; metric; values, oldest first, None where a run failed; data (how many data sets they learned
            from); alike (whether all judged on the same rows for certain); higher_is_better.
    Returns:
        picture: PNG as base64.
    """
    values, metric = arguments["values"], arguments["metric"]
    there = [value for value in values if value is not None]
    best = (max if arguments["higher_is_better"] else min)(there)
    failed = len(values) - len(there)
    spec = history.history(
        [history.RunPoint(number, value) for number, value in enumerate(values, start=1)],
        title=f"Best {metric} so far: {plain(best, 4)}, first in run {values.index(best) + 1} of {len(values)}",
        subtitle=f"{arguments['model']} · {'higher' if arguments['higher_is_better'] else 'lower'} is better"
        + (f" · on {arguments['data']} versions of data" if arguments["data"] > 1 else "")
        + ("" if arguments["alike"] else " · perhaps not all judged on the same rows")
        + (f" · {failed} failed" if failed else ""),
        metric=metric,
        higher_is_better=arguments["higher_is_better"],
    )
    return {"picture": base64.b64encode(render.render_png(spec)).decode()}


def draw_curves(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """The validation losses of runs, as a picture.

    Args:
        arguments: metric; curves: name, across (`rows` or `iterations`), steps and losses of each; without: how many
            of the runs have none.
    Returns:
        picture: PNG as base64.
    """
    curves = [
        learning.LossCurve(one["name"], one["across"], tuple(one["steps"]), tuple(one["losses"]))
        for one in arguments["curves"]
    ]
    best = min(curves, key=lambda curve: min(curve.losses))
    without = arguments["without"]
    spec = learning.learning(
        curves,
        title=f"Lowest validation loss: {plain(min(best.losses), 4)}, {best.name}",
        subtitle="On rows kept out of what was learned from, never the test rows · runs may keep out different ones"
        + (f" · {without} of the runs {'has' if without == 1 else 'have'} no curve" if without else ""),
        metric=arguments["metric"],
    )
    return {"picture": base64.b64encode(render.render_png(spec)).decode()}


def draw_lineage(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Where something comes from and what became of it, as a picture.

    Args:
        arguments: nodes (the fields of each), edges (pairs of ids), title and subtitle.
    Returns:
        picture: PNG as base64.
    """
    spec = lineage.lineage(
        [lineage.Node(**node) for node in arguments["nodes"]],
        [(start, end) for start, end in arguments["edges"]],
        title=arguments["title"],
        subtitle=arguments["subtitle"],
    )
    return {"picture": base64.b64encode(render.render_png(spec)).decode()}
