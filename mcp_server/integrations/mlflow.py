"""MLflow over its REST API 2.0: runs and registered models read, runs written; nothing of it is trusted.

A server answers with what its users wrote. Answers are bounded in bytes and in number, names are cut and cleaned,
numbers must be finite, paths plain; redirects aren't followed and no proxy of the environment is used.
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

import orjson

from mcp_server.core.labels import label
from mcp_server.errors import CourtsideError, DataRejected, DiskFull, NotFound, Transient
from mcp_server.integrations.download import kept_if_whole

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

CONNECT_SECONDS, ANSWER_SECONDS, CALL_SECONDS, FILE_SECONDS = 2.0, 10.0, 30.0, 300.0
MOST_ANSWER = 16 * 1024 * 1024
MOST_PAGES = 1_000
PAGE = 100
MOST_EXPERIMENTS = 1_000
MOST_PARAMETERS, MOST_METRICS, MOST_TAGS = 100, 200, 20
LONGEST_KEY, LONGEST_VALUE = 100, 500
MOST_FILES = 20
OURS = "courtside.run"
"""The tag that says which run of ours one is."""
WHERE = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[\w.@+ -]{1,200}\Z")
_LATEST = 4_102_444_800_000  # the year 2100, in milliseconds
_ENDED = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "cancelled"}
_WRITTEN = {ours: theirs for theirs, ours in _ENDED.items()}


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment.

    Args:
        id: letters, digits, `_` and `-`.
        name: cut and cleaned; from outside.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run as the server tells it; everything that is text is cut, cleaned, and from outside.

    Args:
        id: letters, digits, `_` and `-`.
        status: `succeeded`, `failed` or `cancelled`; None while it isn't over.
        started_at, ended_at: aware; None where that isn't said, or can't be.
        metrics: the last value of each, finite.
        ours: what its tag says of which run of ours it is, or None.
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
    data: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ForeignVersion:
    """A version of a registered model.

    Args:
        name: cut and cleaned; `asked` is the one to ask the server by.
        version: digits.
        run: the id of the run that made it, or None.
    """

    name: str
    asked: str
    version: str
    run: str | None


class Mlflow:
    """One server.

    Args:
        url: up to before `/api`.
        client: from `connected`.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    # Reading --------------------------------------------------------------------------------------------------------

    async def experiments(self) -> list[Experiment]:
        """The active experiments, at most `MOST_EXPERIMENTS`."""
        found: list[Experiment] = []
        async for one in self._pages("experiments/search", "experiments", {}):
            if _is_id(id := one.get("experiment_id")):
                found.append(Experiment(id, text(one.get("name"))))
            if len(found) == MOST_EXPERIMENTS:
                break
        return found

    async def runs(self, experiment: str) -> AsyncIterator[ForeignRun]:
        """The runs of an experiment, in the order of their start."""
        asked = {"experiment_ids": [experiment], "order_by": ["attributes.start_time ASC"]}
        async for one in self._pages("runs/search", "runs", asked):
            read = read_run(one)
            if read is not None:
                yield read

    async def versions(self) -> AsyncIterator[ForeignVersion]:
        """The versions of every registered model."""
        async for one in self._pages("model-versions/search", "model_versions", None):
            name, version, run = one.get("name"), str(one.get("version"))[:20], one.get("run_id")
            if isinstance(name, str) and 0 < len(name) <= 256 and version.isascii() and version.isdigit():
                yield ForeignVersion(text(name), name, version, run if _is_id(run) else None)

    async def files(self, version: ForeignVersion) -> tuple[str, list[tuple[str, int | None]]]:
        """Where a version's files are, and their names with their sizes; of a folder the size is None.

        Raises:
            DataRejected: `E_PATH`: this server doesn't serve them, or a name isn't plain; `E_SIZE`: too many.
        """
        asked = {"name": version.asked, "version": version.version}
        told = (await self._call("GET", WHERE + "model-versions/get-download-uri", query=asked)).get("artifact_uri")
        path = _served_path(told)
        listed = _objects((await self._call("GET", FILES, query={"path": path})).get("files"))
        if len(listed) > MOST_FILES:
            raise DataRejected("E_SIZE", f"The version has more than {MOST_FILES} files.", hint="Register less of it.")
        found: list[tuple[str, int | None]] = []
        for one in listed:
            name, size = one.get("path"), one.get("file_size")
            if not isinstance(name, str) or not _SEGMENT.match(name):
                raise DataRejected("E_PATH", "A file of the version has a name that isn't plain.", hint="Rename it.")
            found.append((name, None if one.get("is_dir") is True else size if isinstance(size, int) else 0))
        return path, found

    async def download(self, folder: str, name: str, target: Path, *, most_bytes: int) -> None:
        """Fetch a file; it's at the target whole, or not at all.

        Raises:
            DataRejected: `E_SIZE`, and what a call raises.
            DiskFull: it can't be written.
        """
        try:
            with kept_if_whole(target) as file:
                async with asyncio.timeout(FILE_SECONDS):
                    parts = self._parts("GET", f"{FILES}/{quote(f'{folder}/{name}')}", None, None, most_bytes)
                    async with aclosing(parts):
                        async for part in parts:
                            await asyncio.to_thread(file.write, part)
        except TimeoutError:
            raise _silent() from None
        except OSError:
            raise DiskFull("The file can't be written.", hint="Make room in the data folder.") from None

    # Writing --------------------------------------------------------------------------------------------------------

    async def experiment(self, name: str) -> str:
        """The id of the experiment of this name, made where there is none."""
        try:
            asked = {"experiment_name": name}
            found = (await self._call("GET", WHERE + "experiments/get-by-name", query=asked)).get("experiment")
            id = found.get("experiment_id") if isinstance(found, dict) else None
            if isinstance(found, dict) and found.get("lifecycle_stage") == "deleted":
                raise DataRejected(
                    "E_CONFLICT", "The experiment was deleted on the MLflow server.", hint="Restore it there."
                )
        except NotFound:
            id = (await self._call("POST", WHERE + "experiments/create", {"name": name})).get("experiment_id")
        return _needed_id(id)

    async def write_run(self, experiment: str, run: Json) -> str:
        """Write a run of ours, or what is missing of it: the same run written twice is there once.

        Args:
            run: from `written_run`.
        Returns:
            its id there.
        """
        condition = f"tags.`{OURS}` = '{run['id']}'"
        asked = {"experiment_ids": [experiment], "filter": condition, "max_results": 1}
        there = _objects((await self._call("POST", WHERE + "runs/search", asked)).get("runs"))
        if there:
            info = there[0].get("info")
            id, over = _run_id(there[0]), isinstance(info, dict) and info.get("status") in _ENDED
            if over:
                return _needed_id(id)
        else:
            made = await self._call("POST", WHERE + "runs/create", {"experiment_id": experiment, **run["create"]})
            id = _run_id(made.get("run"))
        known = _needed_id(id)
        for batch in run["batches"]:
            await self._call("POST", WHERE + "runs/log-batch", {"run_id": known, **batch})
        await self._call("POST", WHERE + "runs/update", {"run_id": known, **run["update"]})
        return known

    # Calls ----------------------------------------------------------------------------------------------------------

    async def _pages(self, path: str, field: str, asked: Json | None) -> AsyncIterator[Json]:
        """The objects of a list, page by page; `asked` None for a list that is asked for by GET."""
        token: str | None = None
        for _ in range(MOST_PAGES):
            more: Json = {"max_results": PAGE, **({} if token is None else {"page_token": token})}
            if asked is None:
                answer = await self._call("GET", WHERE + path, query=more)
            else:
                answer = await self._call("POST", WHERE + path, {**asked, **more})
            listed = _objects(answer.get(field))
            if len(listed) > PAGE:
                raise DataRejected(
                    "E_SIZE", f"MLflow's page holds more than the {PAGE} that were asked for.", hint="See its version."
                )
            for one in listed:
                yield one
            following = answer.get("next_page_token")
            if not isinstance(following, str) or not following or following == token:
                return
            token = following[:4_096]
        raise DataRejected(
            "E_SIZE", f"MLflow has more than {MOST_PAGES:,} pages of a list.", hint="Name an experiment."
        )

    async def _call(self, method: str, path: str, body: Json | None = None, *, query: Json | None = None) -> Json:
        content = None if body is None else orjson.dumps(body)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                raw = b"".join([part async for part in self._parts(method, path, content, query, MOST_ANSWER)])
        except TimeoutError:
            raise _silent() from None
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise _not_mlflow()
        return answer

    async def _parts(
        self, method: str, path: str, content: bytes | None, query: Json | None, most_bytes: int
    ) -> AsyncGenerator[bytes]:
        import httpx

        size = 0
        try:
            async with self._client.stream(method, self._url + path, content=content, params=query) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code)
                # Not unpacked: a few kilobytes that were packed twice can stand for gigabytes.
                if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                    raise DataRejected(
                        "E_FORMAT", "MLflow's answer is packed, unasked.", hint="Have its proxy not compress answers."
                    )
                async for part in answer.aiter_raw():
                    size += len(part)
                    if size > most_bytes:
                        raise DataRejected(
                            "E_SIZE",
                            f"MLflow's answer is larger than {most_bytes // 2**20:,} MiB.",
                            hint="Take an experiment alone, or a smaller model.",
                        )
                    yield part
        except httpx.TimeoutException:
            raise _silent() from None
        except httpx.InvalidURL:
            raise _not_mlflow() from None
        except httpx.HTTPError:
            raise Transient("MLflow can't be reached.", hint="See that it runs at COURTSIDE_MLFLOW_URL.") from None


@asynccontextmanager
async def connected(url: str, key: str | None) -> AsyncIterator[Mlflow]:
    """A connection to a server, until the block ends.

    Args:
        key: goes along as a bearer token.
    """
    import httpx

    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False, follow_redirects=False) as client:
        yield Mlflow(url, client)


def read_run(given: Json) -> ForeignRun | None:
    """A run of an answer; None where it has no usable id."""
    info, data = (part if isinstance(part, dict) else {} for part in (given.get("info"), given.get("data")))
    id = info.get("run_id")
    if not _is_id(id):
        return None
    parameters = {str(one.get("key")): one.get("value") for one in _objects(data.get("params"))}
    every = {str(one.get("key")): one.get("value") for one in _objects(data.get("tags"))}
    tags = {name: value for name, value in every.items() if not name.startswith(("mlflow.", "courtside."))}
    values = [(one.get("key"), one.get("value")) for one in _objects(data.get("metrics"))]
    inputs = given.get("inputs")
    named = _objects(inputs.get("dataset_inputs")) if isinstance(inputs, dict) else []
    sets = [one["dataset"] for one in named[:MOST_FILES] if isinstance(one.get("dataset"), dict)]
    ours = every.get(OURS)
    return ForeignRun(
        id=id,
        name=text(info.get("run_name")),
        status=_ENDED.get(str(info.get("status"))),
        started_at=_moment(info.get("start_time")),
        ended_at=_moment(info.get("end_time")),
        parameters=_texts(parameters, MOST_PARAMETERS),
        metrics={
            text(name): float(value)
            for name, value in values[:MOST_METRICS]
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        },
        tags=_texts(tags, MOST_TAGS),
        ours=ours if _is_id(ours) else None,
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


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _ID.match(value) is not None


def _needed_id(value: object) -> str:
    if not _is_id(value):
        raise _not_mlflow()
    return value


def _run_id(run: object) -> object:
    info = run.get("info") if isinstance(run, dict) else None
    return info.get("run_id") if isinstance(info, dict) else None


def _moment(value: object) -> datetime | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 15:
        value = int(value)  # 64 bits are text in the JSON of protocol buffers
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _LATEST:
        return None
    return datetime.fromtimestamp(value / 1_000, UTC)


def _served_path(uri: object) -> str:
    """The path of files that the server serves by itself; any other place is left alone."""
    scheme, _, path = uri.partition(":/") if isinstance(uri, str) else ("", "", "")
    segments = path.split("/")
    if scheme != "mlflow-artifacts" or len(path) > 2_000 or not all(_SEGMENT.match(one) for one in segments):
        raise DataRejected(
            "E_PATH",
            "The version's files aren't served by the MLflow server itself.",
            hint="Start it with --serve-artifacts, or bring the file yourself and call verify_model on it.",
        )
    return path


def _refused(status: int) -> CourtsideError:
    if status in (401, 403):
        return DataRejected("E_PERMISSION", "MLflow refuses this key.", hint="Set COURTSIDE_MLFLOW_KEY.")
    if status == 404:
        return NotFound("MLflow doesn't have that.", hint="See that COURTSIDE_MLFLOW_URL is its address.")
    if 300 <= status < 400:
        return DataRejected(
            "E_URL",
            "MLflow's address leads elsewhere, which isn't followed.",
            hint="Set COURTSIDE_MLFLOW_URL so.",
        )
    if status in (408, 425, 429) or status >= 500:
        return Transient(f"MLflow answered with status {status}.", hint="Try again in a moment; its log says why.")
    return DataRejected("E_CONFLICT", f"MLflow refused it with status {status}.", hint="Its log says why.")


def _silent() -> Transient:
    return Transient("MLflow didn't answer in time.", hint="Try again in a moment.")


def _not_mlflow() -> DataRejected:
    return DataRejected(
        "E_FORMAT", "What answered isn't an MLflow server.", hint="See that COURTSIDE_MLFLOW_URL is its address."
    )
