"""What a search for runs asks, read out of its text: `model=games log_loss<0.6 since=2026-01-31 sort=log_loss`."""

from __future__ import annotations

import math
import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from mcp_server.core.labels import label
from mcp_server.errors import InvalidInput

if TYPE_CHECKING:
    from mcp_server.storage.records import RunFilter

LOSSES = ("log_loss", "brier", "calibration_error", "rmse", "mae")
"""Metrics of ours that are better when they're lower."""
FIELDS = ("model", "dataset", "target", "algorithm", "status", "since", "sort")
MOST_BOUNDS = 8

_LOSS_LIKE = re.compile(r"loss|error|rmse|mse|mae|mape|brier|deviance", re.IGNORECASE)
_CONDITION = re.compile(r"([\w.-]{1,64})(<=|>=|<|>|=)(.*)\Z", re.DOTALL)
_RELATION = re.compile(r"<=|>=|<|>|=")
_HINT = (
    "Such as model=games status=succeeded log_loss<0.6 since=2026-01-31 sort=log_loss; the fields are "
    f"{', '.join(FIELDS)} and any metric; a plain word is a part of the model's name."
)


def lower_is_better(metric: str) -> bool:
    """Which way is up: of our own metrics for certain, of others by what their names say.

    >>> lower_is_better("log_loss"), lower_is_better("roc_auc"), lower_is_better("val_mse")
    (True, False, True)
    """
    return metric in LOSSES or _LOSS_LIKE.search(metric) is not None


def parse(text: str | None) -> RunFilter:
    """Read a query.

    Args:
        text: conditions `field=value`, `metric<number` and plain words, with blanks between; a value with blanks stands
            in quotes. `sort` names a metric, the best first; with `-` before it, the worst.
    Raises:
        InvalidInput: it can't be read; the message says which part.
    """
    from mcp_server.storage.records import MetricBound, RunFilter

    if "\0" in (text or ""):
        raise InvalidInput("The query holds a character that no name has.", hint=_HINT)
    try:
        parts = shlex.split(text or "")
    except ValueError:
        raise InvalidInput("A quotation mark of the query isn't closed.", hint=_HINT) from None
    values: dict[str, Any] = {}
    bounds: list[MetricBound] = []
    for part in _joined(parts):
        found = _CONDITION.match(part)
        name, relation, stated = ("part", "=", part) if found is None else found.groups()
        if name == "part" and ":" in stated:
            raise InvalidInput(f"Runs aren't found by {label(stated)!r}.", hint=_HINT)
        if name == "part" and name in values:
            raise InvalidInput("The query has two plain words.", hint=_HINT)
        if relation != "=":
            bounds.append(MetricBound(name, relation, _number(name, stated)))  # type: ignore[arg-type]
            continue
        if name != "part" and name not in FIELDS:
            raise InvalidInput(f"Runs aren't found by {label(name)!r} with =.", hint=_HINT)
        if name in values or not stated:
            raise InvalidInput(f"The query says {label(name)!r} twice, or without a value.", hint=_HINT)
        values[name] = stated
    if len(bounds) > MOST_BOUNDS:
        raise InvalidInput(f"A query takes at most {MOST_BOUNDS} bounds of metrics.", hint="Leave some out.")
    _check_status(values.get("status"))
    if "since" in values:
        values["since"] = _moment(values["since"])
    sort = values.pop("sort", None)
    if sort is not None:
        metric = sort.removeprefix("-")
        best_is_high = not lower_is_better(metric)
        values |= {"sort": metric, "descending": best_is_high is not sort.startswith("-")}
    return RunFilter(bounds=tuple(bounds), **values)


def _joined(parts: list[str]) -> list[str]:
    """Parts with what stands alone around a relation put together: `log_loss < 0.6` is one condition."""
    joined: list[str] = []
    for part in parts:
        before = joined[-1] if joined else ""
        within = _RELATION.search(part)
        value_next = _open(before) and within is None
        relation_next = within is not None and within.start() == 0 and _RELATION.search(before) is None
        if before and (value_next or relation_next):
            joined[-1] = before + part
        else:
            joined.append(part)
    return joined


def _open(part: str) -> bool:
    """Whether a part ends with the relation, so that its value comes next."""
    found = _RELATION.search(part)
    return found is not None and found.end() == len(part)


def _number(name: str, stated: str) -> float:
    try:
        value = float(stated)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInput(f"The bound of {label(name)!r} isn't a number.", hint=_HINT)
    return value


def _check_status(stated: str | None) -> None:
    from mcp_server.storage.records import RunStatus

    known = get_args(RunStatus)
    if stated is not None and stated not in known:
        raise InvalidInput("There is no such status of a run.", hint=f"It's one of {', '.join(known)}.")


def _moment(stated: str) -> datetime:
    try:
        found = datetime.fromisoformat(stated)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter at either end of the calendar
        raise InvalidInput("since isn't a date.", hint="Write 2026-01-31, or 2026-01-31T18:30:00+00:00.") from None
