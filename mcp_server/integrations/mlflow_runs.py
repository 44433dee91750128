"""How MLflow writes down a run: its JSON read with nothing of it trusted, and a run of ours as it takes one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeGuard

from mcp_server.core.labels import label

Json = dict[str, Any]

MOST_PARAMETERS, MOST_METRICS, MOST_TAGS = 100, 200, 20
LONGEST_KEY, LONGEST_VALUE = 100, 500
MOST_FILES = 20
OURS = "courtside.run"
"""The tag that says which run of ours one is; anybody there can set it."""
BEGUN = "courtside.begun"
"""The tag by which a run that was half written is found again."""
SEAL = "courtside.seal"
"""The tag that proves it: over our name and theirs of what has it, so that it says nothing on anything else."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LATEST = 4_102_444_800_000  # the year 2100, in milliseconds
ENDED = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "cancelled"}
_WRITTEN = {ours: theirs for theirs, ours in ENDED.items()}


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run as the server tells it; everything that is text is cut, cleaned, and from outside.

    Args:
        id: letters, digits, `_` and `-`.
        status: `succeeded`, `failed` or `cancelled`; None while it isn't over.
        started_at, ended_at: aware; None where that isn't said, or can't be.
        metrics: the last value of each, finite.
        ours: what its tag says of which run of ours it is, or None; `seal` what is to prove it.
        data: names and digests of the data sets that it names.
    """

    id: str
    name: str
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    ours: str | None
    seal: str
    data: list[dict[str, str]] = field(default_factory=list)


def read_run(given: Json) -> ForeignRun | None:
    """A run of an answer; None where it has no usable id."""
    info, data = (part if isinstance(part, dict) else {} for part in (given.get("info"), given.get("data")))
    id = info.get("run_id")
    if not is_id(id):
        return None
    parameters = {str(one.get("key")): one.get("value") for one in objects(data.get("params"))}
    every = {str(one.get("key")): one.get("value") for one in objects(data.get("tags"))}
    tags = {name: value for name, value in every.items() if not name.startswith(("mlflow.", "courtside."))}
    values = [(one.get("key"), one.get("value")) for one in objects(data.get("metrics"))]
    inputs = given.get("inputs")
    named = objects(inputs.get("dataset_inputs")) if isinstance(inputs, dict) else []
    sets = [one["dataset"] for one in named[:MOST_FILES] if isinstance(one.get("dataset"), dict)]
    ours = every.get(OURS)
    return ForeignRun(
        id=id,
        name=text(info.get("run_name")),
        status=ENDED.get(str(info.get("status"))),
        started_at=_moment(info.get("start_time")),
        ended_at=_moment(info.get("end_time")),
        parameters=_texts(parameters, MOST_PARAMETERS),
        metrics={
            text(name): float(value)
            for name, value in values[:MOST_METRICS]
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        },
        tags=_texts(tags, MOST_TAGS),
        ours=ours if is_id(ours) else None,
        seal=text(every.get(SEAL)),
        data=[{name: text(one.get(name)) for name in ("name", "digest", "source_type")} for one in sets],
    )


def written_run(
    id: str,
    *,
    name: str,
    status: str,
    started_at: datetime,
    ended_at: datetime,
    parameters: Mapping[str, str],
    metrics: Mapping[str, float],
    curves: Mapping[str, list[tuple[int, float]]],
    tags: Mapping[str, str],
) -> Json:
    """What `Mlflow.write_run` sends, in the batches that the API takes.

    Args:
        id: of ours; written as a tag, by which the run is found again.
        status: `succeeded`, `failed` or `cancelled`.
        curves: values by step.
    """
    at = int(ended_at.timestamp() * 1_000)
    points = [{"key": name, "value": value, "timestamp": at, "step": 0} for name, value in metrics.items()]
    points += [
        {"key": name, "value": value, "timestamp": at, "step": step}
        for name, curve in curves.items()
        for step, value in curve
    ]
    pairs = [{"key": key[:250], "value": value[:LONGEST_VALUE]} for key, value in parameters.items()]
    batches: list[Json] = [{"metrics": points[i : i + 500]} for i in range(0, len(points), 500)]
    batches += [{"params": pairs[i : i + 100]} for i in range(0, len(pairs), 100)]
    told = {"mlflow.runName": name, OURS: id, **tags}
    return {
        "id": id,
        "create": {
            "start_time": int(started_at.timestamp() * 1_000),
            "run_name": name,
            "tags": [{"key": key, "value": value[:LONGEST_VALUE]} for key, value in told.items()],
        },
        "batches": batches,
        "update": {"status": _WRITTEN[status], "end_time": at},
    }


def text(value: object, most: int = LONGEST_KEY) -> str:
    """Text from outside, cut, with what hides or acts made visible."""
    return label(value, most) if isinstance(value, str) else ""


def _texts(values: Mapping[str, object], most: int) -> dict[str, str]:
    return {text(name): text(value, LONGEST_VALUE) for name, value in list(values.items())[:most]}


def objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _ID.match(value) is not None


def _moment(value: object) -> datetime | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 15:
        value = int(value)  # 64 bits are text in the JSON of protocol buffers
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _LATEST:
        return None
    return datetime.fromtimestamp(value / 1_000, UTC)
