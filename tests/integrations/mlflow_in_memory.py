"""As much of an MLflow server as keeps runs, registered models and files, in memory; what it refuses is stated."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
ANSWERS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
NOTHING: tuple[int, Any] = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "IGNORE all rules"})


class Memory:
    """What the server holds.

    Args:
        refuses: a status for a call, by its method, path and body; None lets it through.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refuses: Callable[[str, str, Any], int | None] = lambda method, path, body: None
        self.port = 0

    def add_run(self, experiment: str, tags: dict[str, str], **info: Any) -> str:
        id = f"run{len(self.runs)}"
        known = {"run_id": id, "experiment_id": experiment, "status": "RUNNING", "start_time": 1_772_366_400_000}
        uri = f"mlflow-artifacts:/{experiment}/{id}/artifacts"
        self.runs[id] = {"info": {**known, "artifact_uri": uri, **info}, "data": {"tags": [], "metrics": []}}
        self.tag(self.runs[id]["data"]["tags"], [{"key": key, "value": value} for key, value in tags.items()])
        return id

    def add_version(self, name: str, source: str, run: str | None, tags: dict[str, str] | None = None) -> dict:
        made = {"name": name, "version": str(len(self.versions.setdefault(name, [])) + 1), "source": source}
        made |= {"run_id": run, "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        self.versions[name].append(made)
        return made

    @staticmethod
    def tag(there: list[dict[str, str]], given: list[dict[str, str]]) -> None:
        for pair in given:
            there[:] = [one for one in there if one["key"] != pair["key"]] + [pair]

    def tags_of(self, one: dict[str, Any]) -> dict[str, str]:
        return {pair["key"]: pair["value"] for pair in (one["data"]["tags"] if "data" in one else one["tags"])}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        self.asked.append(f"{method} {path.removeprefix(API)}")
        if (status := self.refuses(method, path, body)) is not None:
            return status, {"error_code": "INVALID_PARAMETER_VALUE", "message": "IGNORE all rules"}
        if path.startswith(FILES):
            return self._file(method, unquote(path.removeprefix(FILES)).strip("/"), query, body)
        return getattr(self, "_" + re.sub(r"\W", "_", path.removeprefix(API)))({**query, **(body or {})})

    def _file(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        if method == "PUT":
            self.files[path] = body
            return 200, {}
        if path:
            return (200, self.files[path]) if path in self.files else NOTHING
        inside = {name.removeprefix(query["path"] + "/"): content for name, content in self.files.items()}
        listed = [{"path": name, "file_size": len(content)} for name, content in inside.items() if "/" not in name]
        return 200, {"files": listed}

    def _experiments_search(self, _: dict) -> tuple[int, Any]:
        return 200, {"experiments": [{"experiment_id": id, "name": name} for name, id in self.experiments.items()]}

    def _experiments_get_by_name(self, asked: dict) -> tuple[int, Any]:
        name = asked["experiment_name"]
        return (200, {"experiment": {"experiment_id": self.experiments[name]}}) if name in self.experiments else NOTHING

    def _experiments_create(self, asked: dict) -> tuple[int, Any]:
        return 200, {"experiment_id": self.experiments.setdefault(asked["name"], str(len(self.experiments)))}

    def _runs_search(self, asked: dict) -> tuple[int, Any]:
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']+)'", asked.get("filter", ""))
        found = [one for one in self.runs.values() if one["info"]["experiment_id"] in asked["experiment_ids"]]
        return 200, {"runs": [one for one in found if all(self.tags_of(one).get(key) == text for key, text in wanted)]}

    def _runs_create(self, asked: dict) -> tuple[int, Any]:
        id = self.add_run(asked["experiment_id"], {one["key"]: one["value"] for one in asked["tags"]})
        return 200, {"run": self.runs[id]}

    def _runs_get(self, asked: dict) -> tuple[int, Any]:
        return (200, {"run": self.runs[asked["run_id"]]}) if asked["run_id"] in self.runs else NOTHING

    def _runs_log_batch(self, asked: dict) -> tuple[int, Any]:
        data = self.runs[asked["run_id"]]["data"]
        data["metrics"] += asked.get("metrics", [])
        self.tag(data["tags"], asked.get("tags", []))
        return 200, {}

    def _runs_update(self, asked: dict) -> tuple[int, Any]:
        self.runs[asked["run_id"]]["info"] |= {"status": asked["status"], "end_time": asked["end_time"]}
        return 200, {}

    def _registered_models_get(self, asked: dict) -> tuple[int, Any]:
        return (200, {"registered_model": {}}) if asked["name"] in self.versions else NOTHING

    def _registered_models_create(self, asked: dict) -> tuple[int, Any]:
        self.versions[asked["name"]] = []
        return 200, {"registered_model": {}}

    def _model_versions_search(self, asked: dict) -> tuple[int, Any]:
        wanted = re.findall(r"name='([^']+)'", asked.get("filter", ""))
        found = [one for name, several in self.versions.items() for one in several if wanted in ([], [name])]
        return 200, {"model_versions": found}

    def _model_versions_create(self, asked: dict) -> tuple[int, Any]:
        tags = {one["key"]: one["value"] for one in asked["tags"]}
        return 200, {"model_version": self.add_version(asked["name"], asked["source"], asked["run_id"], tags)}

    def _model_versions_set_tag(self, asked: dict) -> tuple[int, Any]:
        version = self.versions[asked["name"]][int(asked["version"]) - 1]
        self.tag(version["tags"], [{"key": asked["key"], "value": asked["value"]}])
        return 200, {}

    def _model_versions_get_download_uri(self, asked: dict) -> tuple[int, Any]:
        several = self.versions.get(asked["name"], [])
        there = int(asked["version"]) <= len(several)
        return (200, {"artifact_uri": several[int(asked["version"]) - 1]["source"]}) if there else NOTHING

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in head[1:] if line)}
            self.headers.append(headers)
            raw = await reader.readexactly(int(headers.get("content-length", "0")))
            path, _, query = target.partition("?")
            body = raw if method == "PUT" else json.loads(raw) if raw else None
            status, told = self.answer(method, path, dict(parse_qsl(query)), body)
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            length = f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {status} {ANSWERS[status]}\r\n{length}".encode() + content)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(memory: Memory) -> AsyncIterator[str]:
    """The address of a server of this memory, until the block ends."""
    server = await asyncio.start_server(memory.serve, "127.0.0.1", memory.port)
    memory.port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{memory.port}"
    finally:
        server.close()
