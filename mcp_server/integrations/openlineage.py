"""OpenLineage: what was imported and trained, as run events of its specification 2-0-2, to a file and over HTTP.

An import or a training is a run: a START event and a COMPLETE, ABORT or FAIL event with the same run id. A job that was
begun again after a crash starts again under its id. https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mcp_server
from mcp_server import log, telemetry
from mcp_server.retry import retry_with_backoff

if TYPE_CHECKING:
    import httpx

EventType = Literal["START", "COMPLETE", "ABORT", "FAIL"]
Json = dict[str, Any]

NAMESPACE = "courtside"
MOST_WAITING = 1_000
RETRIES = 4
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
CONNECT_SECONDS, ANSWER_SECONDS, CLOSE_SECONDS = 2.0, 5.0, 2.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
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


class _Passing(Exception):
    """The collector didn't take an event and may do so later."""


class _Refused(Exception):
    """The collector won't take an event."""


class Sink:
    """Where events go: a file, a collector, or both.

    Telling never fails and never waits for the collector: events wait here, are sent one after the other, again where
    a failure may pass, and are dropped where it doesn't, or where too many wait. What was dropped is counted
    (`courtside_lineage_events_dropped`) and logged.

    Args:
        file: one JSON line each is appended.
        url: each is posted there, exactly there: no redirect is followed, and no proxy of the environment is used.
        key: goes along as a bearer token.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        *,
        file: Path | None,
        url: str | None,
        key: str | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._file, self._url, self._key, self._sleep = file, url, key, sleep
        self._waiting: deque[bytes] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def tell(self, events: Iterable[Json]) -> None:
        """Write events down, and have them sent."""
        told = list(events)
        if self._file is not None:
            await asyncio.to_thread(append, self._file, told)
        if self._url is None:
            return
        for event in told:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(json.dumps(event, allow_nan=False, separators=(",", ":")).encode())
            else:
                _dropped("too many wait")
        if self._waiting and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send_all(self._url))

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Give what waits a moment more, and drop the rest."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=seconds)
            self._sending.cancel()
            await asyncio.wait([self._sending])
        while self._waiting:
            self._waiting.popleft()
            _dropped("the process ends")

    async def _send_all(self, url: str) -> None:
        import httpx

        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self._key}"} if self._key else {})
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client:

            @retry_with_backoff(RETRIES, FIRST_DELAY, LONGEST_DELAY, exceptions=_Passing, sleep=self._sleep)
            async def send_event(event: bytes) -> None:
                await _post(client, url, event)

            while self._waiting:
                try:
                    await send_event(self._waiting[0])
                except (_Passing, _Refused) as failed:
                    _dropped(str(failed))
                self._waiting.popleft()


async def _post(client: httpx.AsyncClient, url: str, event: bytes) -> None:
    import httpx

    try:
        # The answer's body is nobody's: it isn't read.
        async with client.stream("POST", url, content=event) as answer:
            status = answer.status_code
    except httpx.InvalidURL:
        raise _Refused("the address can't be used") from None
    except httpx.HTTPError as failed:
        raise _Passing(type(failed).__name__) from None
    if status in _PASSING:
        raise _Passing(f"status {status}")
    if not 200 <= status < 300:
        raise _Refused(f"status {status}")


def _dropped(why: str) -> None:
    telemetry.record_dropped_event()
    log.get("courtside.openlineage").warning("event dropped", why=why)
