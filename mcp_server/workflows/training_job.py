"""The training job: durable steps from a data set version to registered, verified model versions.

Each step is harmless to repeat: computing steps write files that only their digests make public, storing is
content-addressed, registering is unique by run.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import mcp_server
from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.contract import Contract, from_dict
from mcp_server.core.contract.lineage import fill_marks
from mcp_server.core.labels import label
from mcp_server.core.names import parse_reference
from mcp_server.errors import CourtsideError, NotFound
from mcp_server.jobs.steps import JobRun
from mcp_server.serving.seals import sealed
from mcp_server.storage import Storage, datasets, models, removal, runs
from mcp_server.storage.records import DatasetVersion, ModelVersion
from mcp_server.workflows.describing import genuine
from mcp_server.workflows.examining import check_files, completed, verdict_of
from mcp_server.workflows.reply import Apart, counted
from mcp_server.workflows.tuning import CANDIDATES, EXTRA, TUNED, Tuning

ALGORITHMS = {
    "both": ("linear", "boosting"),
    "linear": ("linear",),
    "boosting": ("boosting",),
    "extra_trees": ("extra_trees",),
}
UNNUMBERED = 0
MOST_ANCESTORS = 20
MOST_NEEDED = 8
FILES = ("form.json", "estimator.skops", "test_rows.json", "seen_rows.bin", "golden.json")
# The metric that decides; a loss, less is better. As `core.metrics.PRIMARY`, which would bring numpy into the worker.
PRIMARY = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


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
        stated = run.arguments["algorithm"]
        self.budget = {name: run.arguments.get(name) for name in ("seconds", "trials")}
        self.tuned = stated == "auto" or any(self.budget.values())
        self.candidates = CANDIDATES if stated in ("auto", "both") else ALGORITHMS[stated]
        # The baseline stands beside whatever tuning finds.
        self.algorithms = ("linear", TUNED) if self.tuned else ALGORITHMS[stated]

    def run_id(self, algorithm: str) -> str:
        return f"r{self.run.id[1:]}-{algorithm}"

    async def result(self) -> dict[str, Any]:
        run = self.run
        async with self.storage.database.reading() as tx:
            data = genuine(await datasets.resolve(tx, self.arguments["dataset"]))
        table = str(await self.storage.artefacts.local_path(data.artefact))
        await run.step("begin", self._begin, {"data": {"digest": data.digest, "rows": data.rows}})
        plan = await run.step(
            "plan",
            "plan_training",
            {"path": table, "contract": data.contract, "out": str(run.scratch / "plan.json"), **self._request()},
            share=(0.0, 0.1),
        )
        chosen: dict[str, Any] | None = None
        if self.tuned:
            # As planning found it: a job that goes on elsewhere keeps its candidates.
            light = plan["light"] and self.candidates == CANDIDATES
            tuning = Tuning(run, (*self.candidates, EXTRA) if light else self.candidates, **self.budget)
            told = {"path": table, "plan": str(run.scratch / "plan.json"), **self._request()}
            chosen = await tuning.chosen(told, share=(0.1, 0.6))
        ancestors = await self._ancestors(data)
        # What preparations fitted.
        fitted = [one.source["fitted"] for one in ancestors if "fitted" in one.source]
        embeddings = [str(await self.storage.artefacts.local_path(digest)) for digest in fitted]
        trained = {}
        for index, algorithm in enumerate(self.algorithms):
            first = 0.6 if self.tuned else 0.1
            part = (0.8 - first) / len(self.algorithms)
            begin = first + part * index
            trained[algorithm] = await run.step(
                f"fit_{algorithm}",
                "train_algorithm",
                {
                    "path": table,
                    "contract": data.contract,
                    "plan": str(run.scratch / "plan.json"),
                    "algorithm": algorithm,
                    "out": str(run.scratch / algorithm),
                    "chosen": chosen if algorithm == TUNED else None,
                    "embeddings": embeddings,
                    **self._request(),
                },
                share=(begin, begin + part),
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
        ready = {}
        for index, name in enumerate(self.algorithms, start=1):
            ready[name] = await self._prove(name, trained[name], plan, data)
            run.progress(0.85 + 0.13 * index / len(self.algorithms), "Verified")
        versions = (await run.step("register", self._register, {"trained": trained, "plan": plan, "ready": ready}))[
            "versions"
        ]
        needed = next(iter(trained.values()))["needed"]
        account = None
        if chosen is not None:
            metric, judged = PRIMARY[plan["task"]], trained[TUNED]["metrics"]
            # How much was learned by heart: the loss on the rows learned from, on the folds and on the test rows.
            gap = {"train": judged["train"][metric], "test": judged["test"][metric]["value"]}
            absent = [] if plan["light"] or self.candidates != CANDIDATES else [EXTRA]
            account = {**chosen["account"], "absent": absent, "gap": {**gap, "folds": chosen["account"]["loss"]}}
        notes = [needed_said(needed)] if needed else []
        if filled := filled_in(from_dict(data.contract), plan["target"], ancestors):
            notes.append(filled_said(filled))
        return self._answer(versions, plan, summary, account, notes)

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
        request = {name: self.arguments[name] for name in ("target", "features", "test", "seed", "allow_leaks")}
        if self.tuned:
            request["tuned"] = True
        if self.arguments.get("costs"):
            request["costs"] = self.arguments["costs"]
        return request

    async def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        async with self.storage.database.transaction(self.run.call) as tx:
            for algorithm in self.algorithms:
                await runs.start(
                    tx,
                    id=self.run_id(algorithm),
                    model=self.arguments["model"],
                    dataset=self.arguments["dataset"],
                    parameters={**self._request(), "algorithm": algorithm},
                    job_id=self.run.id,
                    algorithm=algorithm,
                    target=self.arguments["target"],
                    facts={"data": given["data"]},
                )
        return {}

    async def _ancestors(self, data: DatasetVersion) -> list[DatasetVersion]:
        """This version and those that it was made from, the newest first."""
        waiting = [data]
        async with self.storage.database.reading() as tx:
            for one in waiting:  # grows meanwhile
                known = {(version.name, version.version) for version in waiting}
                for parent in one.parents:
                    if len(waiting) < MOST_ANCESTORS and parse_reference(parent) not in known:
                        # One that was deleted since is passed over: its columns are then needed as they are.
                        with suppress(NotFound):
                            waiting.append(await datasets.get(tx, *parse_reference(parent)))
        return waiting

    async def _prove(
        self, algorithm: str, trained: dict[str, Any], plan: dict[str, Any], data: DatasetVersion
    ) -> dict[str, Any]:
        """Store the files, sign the manifest and verify both, before anyone can see a version."""
        run = self.run

        async def store(_: dict[str, Any]) -> dict[str, Any]:
            folder = run.scratch / algorithm
            files = {name: await self.storage.artefacts.put_file(Path(folder / name)) for name in FILES}
            # The version has its number from the registration only; there it is signed anew.
            manifest = self._manifest(UNNUMBERED, trained, files, plan, data)
            checks, paths = await check_files(self.storage, self._version(trained, plan, manifest))
            return {"manifest": manifest, "checks": checks, "paths": paths}

        stored = await run.step(f"store_{algorithm}", store, {})
        checks = stored["checks"]
        if stored["paths"]:
            found = await run.step(
                f"verify_{algorithm}",
                "verify_model",
                {**stored["paths"], "digest": trained["digest"]},
                fresh=True,
                reads=[Path(path) for path in stored["paths"].values()],
            )
            checks = checks + found["checks"]
        return {"manifest": stored["manifest"], "checks": completed(checks)}

    async def _register(self, given: dict[str, Any]) -> dict[str, Any]:
        """Every version with its verification and its run, in one transaction: all of them are there, or none."""
        versions = []
        async with self.storage.database.transaction(self.run.call) as tx:
            for algorithm in self.algorithms:
                trained, ready = given["trained"][algorithm], given["ready"][algorithm]
                number = await models.next_version(tx, self.arguments["model"])
                wanted = self._version(trained, given["plan"], {**ready["manifest"], "version": number})
                await removal.hold(tx, wanted.manifest["files"].values())
                version = await models.add_version(
                    tx,
                    name=wanted.name,
                    digest=wanted.digest,
                    task=wanted.task,
                    target=wanted.target,
                    artefact=wanted.artefact,
                    training_artefact=wanted.training_artefact,
                    manifest=wanted.manifest,
                    signature=wanted.signature,
                    metrics=wanted.metrics,
                    dataset=wanted.dataset,
                    run_id=wanted.run_id,
                    created_by=wanted.created_by,
                )
                verdict = verdict_of(ready["checks"])
                checks = sealed(self.storage.keys, version, verdict, ready["checks"])
                await models.set_verification(tx, version.name, version.version, verdict=verdict, checks=checks)
                noted = run_facts(trained, wanted.manifest)
                await runs.finish(tx, wanted.run_id, status="succeeded", metrics=trained["metrics"], facts=noted)
                versions.append(
                    {
                        "model": f"{version.name}@{version.version}",
                        "algorithm": trained["metrics"]["algorithm"],
                        "digest": version.digest,
                        "metrics": trained["metrics"]["test"],
                        "baseline": trained["metrics"]["baseline"],
                        "calibration": trained["metrics"]["calibration"],
                        "interval": trained["metrics"]["interval"],
                        "verification": verdict,
                        "same_as_before": version.run_id != wanted.run_id,
                    }
                )
            tx.about(f"model:{versions[0]['model']}", versions=len(versions))
        return {"versions": versions}

    def _version(self, trained: dict[str, Any], plan: dict[str, Any], manifest: dict[str, Any]) -> ModelVersion:
        """The version of a manifest, signed."""
        files = manifest["files"]
        return ModelVersion(
            name=self.arguments["model"],
            version=manifest["version"],
            digest=trained["digest"],
            task=plan["task"],
            target=plan["target"],
            artefact=files["form.json"],
            training_artefact=files["estimator.skops"],
            manifest=manifest,
            signature=self.storage.keys.sign(canonical_bytes(manifest)),
            metrics=trained["metrics"],
            dataset=self.arguments["dataset"],
            run_id=self.run_id(trained["algorithm"]),
            created_at=self.run.clock.now(),
            created_by=self.run.caller,
        )

    def _manifest(
        self, version: int, trained: dict[str, Any], files: dict[str, Any], plan: dict[str, Any], data: DatasetVersion
    ) -> dict[str, Any]:
        return {
            "format": "courtside.manifest/1",
            "model": self.arguments["model"],
            "version": version,
            "task": plan["task"],
            "target": plan["target"],
            "run": self.run_id(trained["algorithm"]),
            "digest": trained["digest"],
            "files": files,
            "data": {
                "dataset": self.arguments["dataset"],
                "digest": data.digest,
                "artefact": data.artefact,
                "rows": data.rows,
            },
            "parameters": {
                **self._request(),
                "algorithm": trained["algorithm"],
                "features": plan["features"],
                **({"chosen": trained["chosen"]} if trained.get("chosen") else {}),
            },
            "metrics": trained["metrics"],
            "code": mcp_server.__version__,
            "environment": trained["environment"],
            "parity": trained["parity"],
        }

    def _answer(
        self,
        versions: list[dict[str, Any]],
        plan: dict[str, Any],
        summary: dict[str, Any],
        account: dict[str, Any] | None,
        notes: list[str],
    ) -> dict[str, Any]:
        best = versions[self.algorithms.index(summary["recommended"])]
        metric = PRIMARY[plan["task"]]
        skill = summary["skill"]
        sentences = [summary["sentence"].rstrip(".") + "."]
        if skill:
            sentences += [f"Recommended: {best['model']}."] if len(versions) > 1 else []
            after = f"predict with {best['model']}"
            if len(versions) > 1:
                after = f"compare_models with {versions[-1]['model']} and {versions[0]['model']}, or {after}"
        else:
            sentences.append(
                f"{best['model']} is not shown to be better than a constant forecast without any feature on "
                f"{counted(summary['rows'], 'row')} ({metric} {best['metrics'][metric]['value']:.4f} against "
                f"{best['baseline'][metric]:.4f}): don't rely on it yet."
            )
            after = "validate_data, or train with other features or more rows"
        sentences += [Apart().text(note) for note in notes]
        return {
            "versions": versions,
            "recommended": best["model"] if skill else None,
            "task": plan["task"],
            "split": Apart().text(plan["split"]),
            "sentence": " ".join(sentences),
            "features": plan["features"],
            "left_out": plan["left_out"],
            **({} if account is None else {"account": account}),
            "next": f"{after}.",
        }


def run_facts(trained: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """What the history keeps of a run beside its metrics: environment, artefacts, cost, and the curve of its losses."""
    account = trained["metrics"].get("account")
    seconds = trained["seconds"] + (account["seconds"] if account else 0.0)
    curve = trained["curve"]
    if account and account["curve"]:
        curve = by_rows(account["curve"])
    elif curve and manifest["task"] == "regression":
        curve = rooted(curve)
    return {
        "environment": {"courtside": manifest["code"], **trained["environment"]},
        "artefacts": manifest["files"],
        "cost": {"seconds": round(seconds, 1), **({"trials": account["trials"]} if account else {})},
        **({"curve": curve} if curve else {}),
    }


def rooted(curve: dict[str, Any]) -> dict[str, Any]:
    """A curve of halves of squared errors, as boosting notes them, in the unit of RMSE.

    >>> rooted({"iterations": [0, 1], "train": [8.0, 2.0], "validation": [8.0, 4.5], "chosen": 1})
    {'iterations': [0, 1], 'train': [4.0, 2.0], 'validation': [4.0, 3.0], 'chosen': 1}
    """
    return {**curve, **{line: [(2.0 * loss) ** 0.5 for loss in curve[line]] for line in ("train", "validation")}}


def by_rows(curve: dict[str, Any]) -> dict[str, Any]:
    """The learning curve of what tuning chose, as a run keeps it: its losses on what was learned from and on the folds.

    >>> by_rows({"algorithm": "linear", "points": [{"rows": 40, "train": 0.4, "folds": 0.6}]})
    {'algorithm': 'linear', 'rows': [40], 'train': [0.4], 'validation': [0.6]}
    """
    lines = {"rows": "rows", "train": "train", "validation": "folds"}
    return {
        "algorithm": curve["algorithm"],
        **{line: [point[name] for point in curve["points"]] for line, name in lines.items()},
    }


def needed_said(columns: list[str]) -> str:
    """That embedded columns and marks of filled ones aren't computed from a raw row, for the answer of a training.

    >>> needed_said(["note_text_1", "note_text_2"])
    "Predicting needs 'note_text_1', 'note_text_2' as they are: they aren't computed from a raw row."
    """
    listed = ", ".join(repr(label(name)) for name in columns[:MOST_NEEDED])
    more = f" and {len(columns) - MOST_NEEDED} more" if len(columns) > MOST_NEEDED else ""
    return f"Predicting needs {listed}{more} as they are: they aren't computed from a raw row."


def filled_in(contract: Contract, target: str, ancestors: list[DatasetVersion]) -> list[str]:
    """The columns that are or decide the target and were filled in by a preparation that left no mark."""
    marks = fill_marks(target, contract.expressions, contract.ingredients)
    steps = [step for one in ancestors for step in one.source.get("plan", ())]
    filled = {name for step in steps if step["do"] == "impute" for name in step["columns"]}
    return [name for name, mark in marks.items() if mark is None and name in filled]


def filled_said(columns: list[str]) -> str:
    """That outcomes were invented, for the answer of a training."""
    listed = ", ".join(repr(label(name)) for name in columns[:MOST_NEEDED])
    return (
        f"Missing values of the target, in {listed}, were filled in by a preparation, and are learned from and judged "
        "on as if they had happened: filter such rows out, or impute with mark, which leaves them out."
    )
