"""OpenLineage: what was imported and trained, as run events of its specification 2-0-2, one JSON line each in a file.

An import or a training is a run: a START event and a COMPLETE, ABORT or FAIL event with the same run id. A job that was
begun again after a crash starts again under its id. https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import mcp_server
from mcp_server import log

EventType = Literal["START", "COMPLETE", "ABORT", "FAIL"]
Json = dict[str, Any]

NAMESPACE = "courtside"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
PRODUCER = f"urn:courtside:{mcp_server.__version__}"
_VERSION_FACET = "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
_OUTPUT_FACET = "https://openlineage.io/spec/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json"
_RUNS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:courtside")


def run_event(
    kind: EventType, *, at: datetime, run: str, job: str, inputs: Iterable[Json] = (), outputs: Iterable[Json] = ()
) -> Json:
    """One event.

    Args:
        at: aware.
        run: any id of ours; the same id gives the same run.
        job: what kind of work on what, such as `import games`.
        inputs, outputs: from `dataset`.
    """
    return {
        "eventType": kind,
        "eventTime": at.isoformat(timespec="milliseconds"),
        "run": {"runId": str(uuid.uuid5(_RUNS, run))},
        "job": {"namespace": NAMESPACE, "name": job},
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }


def dataset(name: str, *, namespace: str = NAMESPACE, digest: str | None = None, rows: int | None = None) -> Json:
    """A data set, or a model, of an event.

    Args:
        digest: of its content; as the facet of its version.
        rows: that were written; for an output only.
    """
    found: Json = {"namespace": namespace, "name": name}
    if digest is not None:
        found["facets"] = {"version": {"_producer": PRODUCER, "_schemaURL": _VERSION_FACET, "datasetVersion": digest}}
    if rows is not None:
        found["outputFacets"] = {
            "outputStatistics": {"_producer": PRODUCER, "_schemaURL": _OUTPUT_FACET, "rowCount": rows}
        }
    return found


def append(path: Path, events: Iterable[Json]) -> None:
    """Write events at the end of a file, made with mode 0600; blocking.

    A file that can't be written is told in the log: what the events tell of is done already, and stays done.
    """
    lines = "".join(json.dumps(event, allow_nan=False, separators=(",", ":")) + "\n" for event in events).encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, lines)  # one write: lines of several processes don't mix
        finally:
            os.close(handle)
    except OSError as error:
        log.get("courtside.openlineage").warning("events not written", error=type(error).__name__)
