"""Pictures of what was recorded: charts that need no table."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from mcp_server.charts import lineage, render, trend

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
