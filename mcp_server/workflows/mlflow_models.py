"""Model versions and an MLflow server's registry: what a file there is, one made a version here, ours registered there.

No file from there is loaded: a process of its own looks into it, or makes a version of what it understands.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mcp_server import __version__
from mcp_server.context import CallContext
from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.names import check_name, suggest_name
from mcp_server.errors import Conflict, DataRejected, InvalidInput, NotFound, Unverified
from mcp_server.settings import MIB
from mcp_server.workflows import adopting, cards, verifying
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Registered

if TYPE_CHECKING:
    from mcp_server.integrations.mlflow import ForeignVersion, Mlflow
    from mcp_server.storage import Storage
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.records import ModelVersion, Run, Standing, Verification
    from mcp_server.workflows.mlflow_history import Transfer

PREFIX = "courtside."
# Beside a model MLflow writes what is read by people and installers; none of it is loaded here.
BESIDE = frozenset(
    {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta", "estimator.html"),
        *("input_example.json", "serving_input_example.json"),
    }
)
MODEL, DIGEST, STAGE, VERIFICATION = (f"{PREFIX}{name}" for name in ("model", "digest", "stage", "verification"))


def seal_of(keys: Keys, ours: str, said: str) -> str:
    """What proves at the server that we wrote something: nobody else can make it, nor use it for another thing.

    Args:
        ours: the run or version of ours.
        said: what of theirs it is.
    """
    return keys.pseudonym("what we wrote to MLflow", [ours, said])


def is_ours(keys: Keys, version: ForeignVersion) -> bool:
    """Whether we registered a version there, with these files."""
    from mcp_server.integrations.mlflow import same_seal
    from mcp_server.integrations.mlflow_runs import SEAL

    wanted = _version_seal(keys, version.tags.get(MODEL, ""), version.tags.get(DIGEST, ""), version.source)
    return same_seal(version.tags.get(SEAL, ""), wanted)


def _version_seal(keys: Keys, model: str, digest: str, source: str) -> str:
    return seal_of(keys, model, f"{digest} at {source}")


# From there --------------------------------------------------------------------------------------------------------


async def looked_into(
    app: App, call: CallContext, there: Mlflow, version: ForeignVersion, done: Transfer
) -> list[dict[str, Any]]:
    """What each file of a version is; a version that can't be had is refused by name."""
    named = f"{version.name}/{version.version}"
    try:
        folder, files = await there.files(version)
        found = [
            await _file(app, call, there, named, (folder, name, size), done)
            for name, size in files
            if name not in BESIDE
        ]
    except (DataRejected, NotFound) as refused:
        done.refuse(f"{named}: {refused.code} {refused.message}")
        return [{"model": named, "verdict": "not understood", "codes": [refused.code]}]
    if not found:
        done.refuse(f"{named}: it has no model file")
        return [{"model": named, "verdict": "not understood", "codes": ["E_EMPTY"]}]
    return found


async def _file(
    app: App, call: CallContext, there: Mlflow, named: str, file: tuple[str, str, int | None], done: Transfer
) -> dict[str, Any]:
    from mcp_server.storage import audit

    folder, name, size = file
    row: dict[str, Any] = {"model": named, "file": name}
    line = f"{named} {name}"
    most = _most_bytes(app)
    if not size or size > most:
        code = "folder" if size is None else "E_SIZE" if size else "E_EMPTY"
        done.refuse(f"{line}: not understood ({code})")
        return {**row, "verdict": "not understood", "codes": [code]}
    async with app.scratch() as scratch:
        target = scratch / "fetched"
        await there.download(folder, name, target, most_bytes=most)
        found = await verifying.look_into(app, call, target)
    codes = sorted({finding["code"] for finding in found["findings"]})
    row |= {"verdict": found["verdict"], "kind": found["kind"], "digest": found["digest"], "codes": codes}
    if found["verdict"] == "data-only":
        done.tell(f"{found['verdict']}  {line} ({found['kind']}, {found['digest'][:19]}…)")
        return row
    done.refuse(f"{line}: {found['verdict']} ({', '.join(codes)})")
    storage = await app.storage()
    async with storage.database.transaction() as tx:
        subject = f"file:{found['digest'].removeprefix('sha256:')[:16]}"
        details = {"kind": found["kind"], "digest": found["digest"], "codes": codes}
        await audit.add(tx, call, action="refuse", outcome="E_UNVERIFIED", subject=subject, details=details)
    return row


def _most_bytes(app: App) -> int:
    from mcp_server.core.model_files.read import MOST_BYTES

    return min(MOST_BYTES, app.settings.max_import_mib * MIB)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A registered version that is to become one of ours.

    Args:
        version: `NAME/NUMBER`, as MLflow's page has it.
        model: its name here; near the one that it has there where none is given.
        dataset, target, columns, test: as for `register_model`.
    """

    version: str
    dataset: str
    model: str | None = None
    target: str | None = None
    columns: list[str] | None = None
    test: str | None = None


async def adopted(app: App, call: CallContext, there: Mlflow, wanted: Wanted) -> Registered:
    """Fetch the one model file of a registered version and do with it what `register_model` does.

    Raises:
        InvalidInput: the version isn't named so, or has several model files.
        DataRejected, NotFound, Transient: it can't be had.
        CourtsideError: as from `adopting.adopt`; nothing is made then.
    """
    from mcp_server.integrations.mlflow import ForeignVersion

    name, _, number = wanted.version.rpartition("/")
    if not 0 < len(name) <= 256 or not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidInput("A registered version goes by its name and number.", hint="Such as --model cancer/2.")
    here = wanted.model or suggest_name(name)
    if here is None:
        raise InvalidInput("The model's name there is none that it could have here.", hint="Give one with --as.")
    version = ForeignVersion(name, name, number, None)

    async def fetch(scratch: Path) -> tuple[Path, str]:
        folder, files = await there.files(version)
        several = [(file, size) for file, size in files if file not in BESIDE]
        if len(several) != 1 or several[0][1] is None:
            held = "none" if not several else f"{len(several)} files or folders"
            raise DataRejected(
                "E_FORMAT",
                f"Of a version that is to be taken over one file is the model; this one has {held}.",
                hint="Save the right one in an allowed folder, and call register_model on it.",
            )
        target = scratch / "fetched"
        await there.download(folder, several[0][0], target, most_bytes=_most_bytes(app))
        return target, several[0][0]

    request = adopting.AdoptionRequest(
        check_name(here), wanted.version, wanted.dataset, wanted.target, wanted.columns, wanted.test
    )
    return await adopting.adopt(app, call, request, bring=fetch)


# To there ----------------------------------------------------------------------------------------------------------


class Registry:
    """Registers versions of ours, each once.

    Args:
        mark: of the server, as the runs that were written there have it.
    """

    def __init__(self, app: App, there: Mlflow, mark: str, done: Transfer) -> None:
        self._app = app
        self._there = there
        self._mark = mark
        self._done = done
        self._known: dict[str, list[ForeignVersion]] = {}

    async def register(self, name: str, number: int) -> None:
        """Register a verified version; of one that is there the tags are brought up to date.

        Its files go first and it's registered with all its tags at once, so that what breaks off leaves no version.

        Raises:
            DataRejected, NotFound, Transient: the server refuses it.
            Conflict: its run isn't there.
            Unverified, CorruptArtefact, StorageFailed: its files aren't what was signed, or can't be read.
        """
        from mcp_server.serving import seals
        from mcp_server.storage import assessments, governance, models, runs

        storage = await self._app.storage()
        async with storage.database.reading() as tx:
            record = await models.get(tx, name, number)
            verification = await models.latest_verification(tx, name, number)
            assessment = await assessments.latest(tx, name, number)
            standing = await governance.get(tx, record)
            run = await runs.get(tx, record.run_id)
        if verification is not None and not seals.genuine(storage.keys, record, verification):
            verification = None
        tags = _tags(record, verification, standing)
        there = await self._there_already(storage.keys, record, f"{PREFIX}{name}")
        if there is not None:
            if changed := {key: value for key, value in tags.items() if there.tags.get(key) != value}:
                await self._there.tag_version(there, changed)
            self._done.versions_known += 1
        elif verification is None or verification.verdict != "passed":
            self._done.unverified += 1
            self._done.tell(f"left out  {name}@{number}: it isn't verified")
        else:
            card = cards.render(record, verification, assessment, standing)
            await self._send(storage, record, self._their_run(run), card, tags)
            self._done.versions += 1

    async def _there_already(self, keys: Keys, record: ModelVersion, name: str) -> ForeignVersion | None:
        if name not in self._known:
            self._known[name] = [one async for one in self._there.versions(name) if is_ours(keys, one)]
        model = f"{record.name}@{record.version}"
        same = [one for one in self._known[name] if (one.tags[MODEL], one.tags[DIGEST]) == (model, record.digest)]
        return same[0] if same else None

    def _their_run(self, run: Run) -> str:
        noted = (run.facts or {}).get("mlflow", {})
        if noted.get("state") != "written" or noted.get("server") != self._mark:
            raise Conflict("Its run isn't there.", hint="See why the run was refused.")
        return str(noted["run"])

    async def _send(self, storage: Storage, record: ModelVersion, run: str, card: str, tags: dict[str, str]) -> None:
        from mcp_server.integrations.mlflow_runs import SEAL

        reference = f"{record.name}@{record.version}"
        files = await _files(storage, record, card)
        folder = f"{await self._there.run_folder(run)}/{PREFIX}{reference}"
        for name, content in files.items():
            await self._there.upload(folder, name, content)
        source = f"mlflow-artifacts:/{folder}"
        await self._there.register(
            f"{PREFIX}{record.name}",
            source=source,
            run=run,
            tags={**tags, SEAL: _version_seal(storage.keys, reference, record.digest, source)},
            description=f"{reference}, exported by Courtside {__version__}: see card.md; manifest.json says what it is "
            "made of, manifest.sig signs that, key.pem checks the signature.",
        )


def _tags(record: ModelVersion, verification: Verification | None, standing: Standing) -> dict[str, str]:
    verified = "none" if verification is None else f"{verification.verdict} {verification.at.isoformat('T', 'seconds')}"
    return {
        MODEL: f"{record.name}@{record.version}",
        DIGEST: record.digest,
        STAGE: standing.stage,
        VERIFICATION: verified,
    }


async def _files(storage: Storage, record: ModelVersion, card: str) -> dict[str, bytes | Path]:
    """What goes along with a version, none of it rows of data; checked against the signed manifest."""
    from mcp_server.workflows.examining import check_files

    checks, paths = await check_files(storage, record)
    if failed := [check["name"] for check in checks if check["state"] == "failed"]:
        raise Unverified(f"It isn't what was signed ({', '.join(failed)}).", hint="Call verify_model on it.")
    manifest = canonical_bytes(record.manifest)
    signer = storage.keys.ring.signer(manifest, record.signature)
    if signer is None:
        raise Unverified("No key of this installation signed it.", hint="Call verify_model on it.")
    for part in ("form", "estimator"):
        if part in paths:
            await asyncio.to_thread(_check_size, Path(paths[part]))
    form = Path(paths["form"])
    files: dict[str, bytes | Path] = {
        "form.json": form,
        "contract.json": canonical_bytes(orjson.loads(await asyncio.to_thread(form.read_bytes))["contract"]),
        "manifest.json": manifest,
        "manifest.sig": record.signature,
        "key.pem": signer.pem().encode(),
        "card.md": card.encode(),
        "MLmodel": _description(record),
    }
    if "estimator" in paths:
        files["estimator.skops"] = Path(paths["estimator"])
    return files


def _check_size(path: Path) -> None:
    from mcp_server.core.model_files.read import MOST_BYTES

    if path.stat().st_size > MOST_BYTES:
        raise DataRejected(
            "E_SIZE", f"A file of it has more than {MOST_BYTES // MIB} MiB.", hint="Train a smaller model."
        )


def _description(record: ModelVersion) -> bytes:
    """What MLflow's own programs look for: that it's a model of a kind that they have no loader for."""
    made = record.created_at.isoformat(" ", "microseconds").partition("+")[0]
    lines = ["flavors:", "  courtside:", "    form: form.json", f"    version: {__version__}"]
    return "\n".join([*lines, f"utc_time_created: '{made}'", ""]).encode()
