"""MLflow over its REST API 2.0: runs and registered models read, runs written; nothing of it is trusted.

A server answers with what its users wrote. Answers are bounded in bytes and in number, names are cut and cleaned,
numbers must be finite, paths plain; redirects aren't followed and no proxy of the environment is used.
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from mcp_server.errors import CourtsideError, DataRejected, DiskFull, NotFound, StorageFailed, Transient
from mcp_server.integrations.download import kept_if_whole
from mcp_server.integrations.mlflow_runs import (
    BEGUN,
    MOST_FILES,
    OURS,
    SEAL,
    ForeignRun,
    Json,
    is_id,
    objects,
    read_run,
    text,
)

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS, ANSWER_SECONDS, CALL_SECONDS, FILE_SECONDS = 2.0, 10.0, 30.0, 300.0
MOST_ANSWER = 16 * 1024 * 1024
MOST_PAGES = 1_000
PAGE = 100
MOST_EXPERIMENTS = 1_000
MOST_ALIKE = 20
LONGEST_SOURCE = 2_000
CHUNK = 1024 * 1024
MOST_ERROR = 64 * 1024
CODES = frozenset(
    {
        *("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "PERMISSION_DENIED", "RESOURCE_CONFLICT"),
        *("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_LIMIT_EXCEEDED", "FEATURE_DISABLED"),
    }
)
WHERE = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"

_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[\w.@+ -]{1,200}\Z")


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
class ForeignVersion:
    """A version of a registered model.

    Args:
        name: cut and cleaned; `asked` is the one to ask the server by.
        version: digits.
        run: the id of the run that made it, or None.
        source: where its files are said to be; as it's told, to be compared alone.
        tags: those of ours, cut and cleaned; anybody there can set them.
    """

    name: str
    asked: str
    version: str
    run: str | None
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


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
        async for one in self._pages("POST", "experiments/search", "experiments", {}):
            if is_id(id := one.get("experiment_id")):
                found.append(Experiment(id, text(one.get("name"))))
            if len(found) == MOST_EXPERIMENTS:
                break
        return found

    async def runs(self, experiment: str) -> AsyncIterator[ForeignRun]:
        """The runs of an experiment, in the order of their start."""
        asked = {"experiment_ids": [experiment], "order_by": ["attributes.start_time ASC"]}
        async for one in self._pages("POST", "runs/search", "runs", asked):
            read = read_run(one)
            if read is not None:
                yield read

    async def versions(self, named: str | None = None) -> AsyncIterator[ForeignVersion]:
        """The versions of every registered model, or of the one of a name of ours."""
        asked: Json = {} if named is None else {"filter": f"name='{named}'"}
        async for one in self._pages("GET", "model-versions/search", "model_versions", asked):
            version = read_version(one)
            if version is not None and named in (None, version.asked):
                yield version

    async def files(self, version: ForeignVersion) -> tuple[str, list[tuple[str, int | None]]]:
        """Where a version's files are, and their names with their sizes; of a folder the size is None.

        Raises:
            DataRejected: `E_PATH`: this server doesn't serve them, or a name isn't plain; `E_SIZE`: too many.
        """
        asked = {"name": version.asked, "version": version.version}
        told = (await self._call("GET", WHERE + "model-versions/get-download-uri", query=asked)).get("artifact_uri")
        path = _served_path(told)
        listed = objects((await self._call("GET", FILES, query={"path": path})).get("files"))
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

    async def write_run(self, experiment: str, run: Json, seal: Callable[[str], str]) -> str:
        """Write a run of ours, or what is missing of it: the same run written twice is there once.

        Args:
            run: from `written_run`.
            seal: what nobody else can say of a text and this run; a run there that lacks it isn't taken for ours.
        Returns:
            its id there.
        """
        begun = seal(f"begun in {experiment}")
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{OURS}` = '{run['id']}' AND tags.`{BEGUN}` = '{begun}'",
            "max_results": MOST_ALIKE,
        }
        known = None
        for one in objects((await self._call("POST", WHERE + "runs/search", asked)).get("runs")):
            there = read_run(one)
            if there is None:
                continue
            if there.status is None:
                known = there.id
            elif same_seal(there.seal, seal(f"run {there.id}")):
                return there.id
        if known is None:
            tags = [*run["create"]["tags"], {"key": BEGUN, "value": begun}]
            asked = {"experiment_id": experiment, **run["create"], "tags": tags}
            known = _needed_id(_info((await self._call("POST", WHERE + "runs/create", asked)).get("run")).get("run_id"))
        tags = [{"key": SEAL, "value": seal(f"run {known}")}]
        for batch in [*run["batches"], {"tags": tags}]:
            await self._call("POST", WHERE + "runs/log-batch", {"run_id": known, **batch})
        await self._call("POST", WHERE + "runs/update", {"run_id": known, **run["update"]})
        return known

    async def run_folder(self, run: str) -> str:
        """Where the files of a run are, as `upload` takes it.

        Raises:
            DataRejected: `E_PATH`: this server doesn't keep them itself.
        """
        found = await self._call("GET", WHERE + "runs/get", query={"run_id": run})
        return _served_path(_info(found.get("run")).get("artifact_uri"))

    async def upload(self, folder: str, name: str, content: bytes | Path) -> None:
        """Put a file there, in the place of one of that name.

        Raises:
            StorageFailed: it can't be read here; and what a call raises.
        """
        path = f"{FILES}/{quote(f'{folder}/{name}')}"
        try:
            async with asyncio.timeout(FILE_SECONDS):
                size = len(content) if isinstance(content, bytes) else (await asyncio.to_thread(content.stat)).st_size
                async with aclosing(self._parts("PUT", path, _chunks(content), None, MOST_ANSWER, size)) as answer:
                    async for _ in answer:
                        pass
        except TimeoutError:
            raise _silent() from None
        except OSError:
            raise StorageFailed("A file of the model can't be read.", hint="Call verify_model on it.") from None

    async def register(self, name: str, *, source: str, run: str, tags: Mapping[str, str], description: str) -> str:
        """Register a version, under a model of this name that is made where there is none.

        Args:
            source: the folder with its files, of the run.
        Returns:
            its number.
        """
        try:
            await self._call("GET", WHERE + "registered-models/get", query={"name": name})
        except NotFound:
            await self._call("POST", WHERE + "registered-models/create", {"name": name})
        asked = {"name": name, "source": source, "run_id": run, "description": description, "tags": _pairs(tags)}
        made = (await self._call("POST", WHERE + "model-versions/create", asked)).get("model_version")
        version = read_version(made) if isinstance(made, dict) else None
        if version is None:
            raise _not_mlflow()
        return version.version

    async def tag_version(self, version: ForeignVersion, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        named = {"name": version.asked, "version": version.version}
        for pair in _pairs(tags):
            await self._call("POST", WHERE + "model-versions/set-tag", {**named, **pair})

    # Calls ----------------------------------------------------------------------------------------------------------

    async def _pages(self, method: str, path: str, field: str, asked: Json) -> AsyncIterator[Json]:
        """The objects of a list, page by page."""
        token: str | None = None
        for _ in range(MOST_PAGES):
            more: Json = {**asked, "max_results": PAGE, **({} if token is None else {"page_token": token})}
            told: Json = {"query": more} if method == "GET" else {"body": more}
            answer = await self._call(method, WHERE + path, **told)
            listed = objects(answer.get(field))
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
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] | None,
        query: Json | None,
        most_bytes: int,
        length: int | None = None,
    ) -> AsyncGenerator[bytes]:
        import httpx

        size = 0
        sent: Json = {"content": content, "params": query}
        if length is not None:
            headers = {"content-type": "application/octet-stream", "content-length": str(length)}
            # Behind the server there can be a store that takes the file only once it's whole.
            sent |= {"headers": headers, "timeout": httpx.Timeout(FILE_SECONDS, connect=CONNECT_SECONDS)}
        try:
            async with self._client.stream(method, self._url + path, **sent) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code, await _said(answer))
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
async def connected(url: str, key: str | None, basic: tuple[str, str] | None = None) -> AsyncIterator[Mlflow]:
    """A connection to a server, until the block ends.

    Args:
        key: goes along as a bearer token.
        basic: user and password, which go along instead.
    """
    import httpx

    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(
        headers=headers, auth=basic, timeout=timeout, trust_env=False, follow_redirects=False
    ) as client:
        yield Mlflow(url, client)


def read_version(given: Json) -> ForeignVersion | None:
    """A version of an answer; None where its name or number can't be one."""
    name, version, run = given.get("name"), str(given.get("version"))[:20], given.get("run_id")
    if not isinstance(name, str) or not 0 < len(name) <= 256 or not version.isascii() or not version.isdigit():
        return None
    source, tags = given.get("source"), {str(one.get("key")): one.get("value") for one in objects(given.get("tags"))}
    return ForeignVersion(
        name=text(name),
        asked=name,
        version=version,
        run=run if is_id(run) else None,
        source=source if isinstance(source, str) and len(source) <= LONGEST_SOURCE else "",
        tags={key: text(value) for key, value in tags.items() if key.startswith("courtside.")},
    )


def same_seal(found: str, wanted: str) -> bool:
    """Whether a seal that was found is the one that only we could make."""
    return hmac.compare_digest(found.encode(), wanted.encode())


def _needed_id(value: object) -> str:
    if not is_id(value):
        raise _not_mlflow()
    return value


def _info(run: object) -> Json:
    info = run.get("info") if isinstance(run, dict) else None
    return info if isinstance(info, dict) else {}


def _pairs(tags: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in tags.items()]


async def _chunks(content: bytes | Path) -> AsyncGenerator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with await asyncio.to_thread(content.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, CHUNK):
            yield part


async def _said(answer: httpx.Response) -> str:
    """Which of MLflow's codes an error has; empty where it's none that is known, as the rest is a stranger's text."""
    raw = b""
    async for part in answer.aiter_raw():
        raw += part
        if len(raw) > MOST_ERROR:
            return ""
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    code = told.get("error_code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and code in CODES else ""


def _served_path(uri: object) -> str:
    """The path of files that the server serves by itself; any other place is left alone."""
    scheme, _, path = uri.partition(":/") if isinstance(uri, str) else ("", "", "")
    segments = path.split("/")
    if scheme != "mlflow-artifacts" or len(path) > LONGEST_SOURCE or not all(_SEGMENT.match(one) for one in segments):
        raise DataRejected(
            "E_PATH",
            "The version's files aren't served by the MLflow server itself.",
            hint="Start it with --serve-artifacts, or bring the file yourself and call verify_model on it.",
        )
    return path


def _refused(status: int, code: str) -> CourtsideError:
    if status in (401, 403):
        return DataRejected(
            "E_PERMISSION",
            "MLflow doesn't let this caller do that.",
            hint="Set COURTSIDE_MLFLOW_KEY, or COURTSIDE_MLFLOW_USER and COURTSIDE_MLFLOW_PASSWORD.",
        )
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
    told = f"{status} {code}".strip()
    return DataRejected("E_CONFLICT", f"MLflow refused it with status {told}.", hint="Its log says why.")


def _silent() -> Transient:
    return Transient("MLflow didn't answer in time.", hint="Try again in a moment.")


def _not_mlflow() -> DataRejected:
    return DataRejected(
        "E_FORMAT", "What answered isn't an MLflow server.", hint="See that COURTSIDE_MLFLOW_URL is its address."
    )
