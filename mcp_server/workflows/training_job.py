"""The training job: durable steps from a data set version to registered, verified model versions.

Each step is harmless to repeat: computing steps write files that only their digests make public, storing is
content-addressed, registering is unique by run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mcp_server
from mcp_server.core.canonical import canonical_bytes
from mcp_server.errors import CourtsideError
from mcp_server.jobs.steps import JobRun
from mcp_server.storage import Storage, datasets, models, runs
from mcp_server.storage.records import DatasetVersion
from mcp_server.workflows.examining import check_files, completed, verdict_of
from mcp_server.workflows.reply import Apart

ALGORITHMS = {"both": ("linear", "boosting"), "linear": ("linear",), "boosting": ("boosting",)}
FILES = ("form.json", "estimator.skops", "test_rows.json", "golden.json")


async def train(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Train what was asked for; the result names each version, its metrics and how they compare."""
    training = TrainingJob(run, storage)
    try:
        return await training.result()
    except CourtsideError as failed:
        await training.record_failure(failed)
        raise


class TrainingJob:
    """One training job. Its steps keep their names and their order; see `jobs.versions`."""

    def __init__(self, run: JobRun, storage: Storage) -> None:
        self.run = run
        self.storage = storage
        self.arguments = run.arguments
        self.algorithms = ALGORITHMS[run.arguments["algorithm"]]

    def run_id(self, algorithm: str) -> str:
        return f"r{self.run.id[1:]}-{algorithm}"

    async def result(self) -> dict[str, Any]:
        run = self.run
        async with self.storage.database.reading() as tx:
            data = await datasets.resolve(tx, self.arguments["dataset"])
        table = str(await self.storage.artefacts.local_path(data.artefact))
        await run.step("begin", self._begin, {})
        plan = await run.step(
            "plan",
            "plan_training",
            {"path": table, "contract": data.contract, "out": str(run.scratch / "plan.json"), **self._request()},
            share=(0.0, 0.1),
        )
        trained = {}
        for index, algorithm in enumerate(self.algorithms):
            begin = 0.1 + 0.7 * index / len(self.algorithms)
            trained[algorithm] = await run.step(
                f"fit_{algorithm}",
                "train_algorithm",
                {
                    "path": table,
                    "contract": data.contract,
                    "plan": str(run.scratch / "plan.json"),
                    "algorithm": algorithm,
                    "out": str(run.scratch / algorithm),
                    **self._request(),
                },
                share=(begin, begin + 0.7 / len(self.algorithms)),
            )
        summary = await run.step(
            "compare",
            "summarise_training",
            {
                "path": table,
                "forms": {name: str(run.scratch / name / "form.json") for name in self.algorithms},
                "plan": str(run.scratch / "plan.json"),
                "seed": self.arguments["seed"],
            },
            share=(0.8, 0.85),
        )
        versions = [await self._register(name, trained[name], plan, data) for name in self.algorithms]
        return self._answer(versions, plan, summary)

    async def record_failure(self, failed: CourtsideError) -> None:
        """Leave the failed runs in the history."""

        async def note(_: dict[str, Any]) -> dict[str, Any]:
            async with self.storage.database.transaction(self.run.call) as tx:
                for algorithm in self.algorithms:
                    found = await runs.get(tx, self.run_id(algorithm))
                    if found.status == "running":
                        await runs.finish(tx, found.id, status="failed", metrics={"error": failed.code})
            return {}

        await self.run.step("note_failure", note, {})

    def _request(self) -> dict[str, Any]:
        return {name: self.arguments[name] for name in ("target", "features", "test", "seed", "allow_leaks")}

    async def _begin(self, _: dict[str, Any]) -> dict[str, Any]:
        async with self.storage.database.transaction(self.run.call) as tx:
            for algorithm in self.algorithms:
                await runs.start(
                    tx,
                    id=self.run_id(algorithm),
                    model=self.arguments["model"],
                    dataset=self.arguments["dataset"],
                    parameters={**self._request(), "algorithm": algorithm},
                    job_id=self.run.id,
                )
        return {}

    async def _register(
        self, algorithm: str, trained: dict[str, Any], plan: dict[str, Any], data: DatasetVersion
    ) -> dict[str, Any]:
        """Store the files, sign and add the version, verify it; three steps."""
        run = self.run

        async def store(_: dict[str, Any]) -> dict[str, Any]:
            folder = run.scratch / algorithm
            return {name: await self.storage.artefacts.put_file(Path(folder / name)) for name in FILES}

        files = await run.step(f"store_{algorithm}", store, {})

        async def register(_: dict[str, Any]) -> dict[str, Any]:
            manifest = self._manifest(trained, files, plan, data)
            async with self.storage.database.transaction(run.call) as tx:
                version = await models.add_version(
                    tx,
                    name=self.arguments["model"],
                    digest=trained["digest"],
                    task=plan["task"],
                    target=plan["target"],
                    artefact=files["form.json"],
                    training_artefact=files["estimator.skops"],
                    manifest=manifest,
                    signature=self.storage.keys.sign(canonical_bytes(manifest)),
                    metrics=trained["metrics"],
                    dataset=self.arguments["dataset"],
                    run_id=self.run_id(algorithm),
                    created_by=run.caller,
                )
                await runs.finish(tx, self.run_id(algorithm), status="succeeded", metrics=trained["metrics"])
                tx.about(f"model:{version.name}@{version.version}")
            return {"version": version.version}

        registered = await run.step(f"register_{algorithm}", register, {})
        verdict = await self._verify(algorithm, registered["version"])
        run.progress(0.85 + 0.15 * (self.algorithms.index(algorithm) + 1) / len(self.algorithms), "Verified")
        return {
            "model": f"{self.arguments['model']}@{registered['version']}",
            "algorithm": algorithm,
            "digest": trained["digest"],
            "metrics": trained["metrics"]["test"],
            "verification": verdict,
        }

    async def _verify(self, algorithm: str, version: int) -> str:
        name = self.arguments["model"]

        async def files(_: dict[str, Any]) -> dict[str, Any]:
            async with self.storage.database.reading() as tx:
                record = await models.get(tx, name, version)
            checks, paths = await check_files(self.storage, record)
            return {"checks": checks, "paths": paths, "digest": record.digest}

        first = await self.run.step(f"check_{algorithm}", files, {})
        checks = first["checks"]
        if first["paths"]:
            found = await self.run.step(
                f"verify_{algorithm}",
                "verify_model",
                {**first["paths"], "digest": first["digest"]},
                fresh=True,
                reads=[Path(path) for path in first["paths"].values()],
            )
            checks = checks + found["checks"]
        checks = completed(checks)

        async def record(_: dict[str, Any]) -> dict[str, Any]:
            async with self.storage.database.transaction(self.run.call) as tx:
                await models.set_verification(tx, name, version, verdict=verdict_of(checks), checks=checks)
                tx.about(f"model:{name}@{version}")
            return {"verdict": verdict_of(checks)}

        return str((await self.run.step(f"record_{algorithm}", record, {}))["verdict"])

    def _manifest(
        self, trained: dict[str, Any], files: dict[str, Any], plan: dict[str, Any], data: DatasetVersion
    ) -> dict[str, Any]:
        return {
            "format": "courtside.manifest/1",
            "model": self.arguments["model"],
            "digest": trained["digest"],
            "files": files,
            "data": {
                "dataset": self.arguments["dataset"],
                "digest": data.digest,
                "artefact": data.artefact,
                "rows": data.rows,
            },
            "parameters": {**self._request(), "algorithm": trained["algorithm"], "features": plan["features"]},
            "metrics": trained["metrics"],
            "code": mcp_server.__version__,
            "environment": trained["environment"],
            "parity": trained["parity"],
        }

    def _answer(self, versions: list[dict[str, Any]], plan: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
        best = next((v for v in versions if v["algorithm"] == summary["recommended"]), versions[0])
        sentence = summary["sentence"]
        if len(versions) > 1:
            sentence += f" Recommended: {best['model']}."
        return {
            "versions": versions,
            "recommended": best["model"],
            "split": Apart().text(plan["split"]),
            "sentence": sentence,
            "next": f"compare_models with {versions[0]['model']} and {versions[-1]['model']}, or predict with "
            f"{best['model']}."
            if len(versions) > 1
            else f"predict with {best['model']}.",
        }
