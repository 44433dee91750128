"""A stored version, changed byte by byte, file by file and record by record: refused each time, and the log says so."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from sqlalchemy import delete, insert, select, text, update

from acceptance.processes import refused, told
from mcp_server import settings
from mcp_server.context import CallContext, Caller
from mcp_server.core.canonical import canonical_bytes
from mcp_server.errors import CorruptArtefact, CourtsideError, PolicyUnmet
from mcp_server.server import build_server
from mcp_server.storage import artefacts as artefact_files
from mcp_server.storage import models, tables, versions
from mcp_server.storage.keys import Keys
from mcp_server.workflows import governing, verifying
from mcp_server.workflows.app import App, own_app
from mcp_server.workflows.examining import FILES, REQUIRED_HERE, check_files

FLIPS = 200
PARTS = (*FILES, "manifest", "signature")


@pytest.fixture
def env(two_versions: dict[str, str]) -> dict[str, str]:
    return two_versions


def in_app(env: dict[str, str], scene: Callable[[Place], Awaitable[Any]], **stated: str) -> Any:
    async def run() -> Any:
        changed = {f"COURTSIDE_{name.upper()}": value for name, value in stated.items()}
        async with own_app(settings.load({**env, **changed})) as app:
            return await scene(Place(app))

    return asyncio.run(run())


@dataclass
class Place:
    """The parts of a server, and what someone with its files and its database can do."""

    app: App

    def call(self, tool: str = "verify_model") -> CallContext:
        return CallContext(Caller("local", frozenset()), secrets.token_hex(8), tool, self.app.clock)

    async def verified(self, model: str = "y@1") -> str:
        """The verdict, or the code that it's refused with; whatever isn't passed must be in the audit log."""
        call = self.call()
        try:
            said = (await verifying.verify(self.app, call, model)).verdict
        except CourtsideError as refused:
            said = refused.code
        if said != "passed":
            rows = [row for row in await self.audited(call.request_id) if row.action == "refuse"]
            assert [row.subject for row in rows] == [f"model:{model}"], said
            assert rows[0].outcome in ("E_UNVERIFIED", "E_CORRUPT", "E_STORAGE")
            assert rows[0].details["why"]
        return said

    async def audited(self, request: str) -> list[Any]:
        async with (await self.app.storage()).database.reading() as tx:
            found = await tx.execute(select(tables.audit).where(tables.audit.c.request_id == request))
            return list(found)

    async def record(self, version: int = 1, model: str = "y") -> Any:
        async with (await self.app.storage()).database.reading() as tx:
            return await models.get(tx, model, version)

    async def rewrite(self, version: int = 1, **values: Any) -> None:
        which = tables.models.c.name == "y", tables.models.c.version == version
        async with (await self.app.storage()).database.transaction() as tx:
            await tx.execute(update(tables.models).where(*which).values(**values))

    async def raw_manifest(self, content: bytes | None = None) -> bytes:
        """The manifest's bytes in the database; written over where some are given."""
        async with (await self.app.storage()).database.transaction() as tx:
            if content is not None:
                statement = "UPDATE models SET manifest = CAST(:content AS TEXT) WHERE name = 'y' AND version = 1"
                await tx.execute(text(statement), {"content": content})
            statement = "SELECT CAST(manifest AS BLOB) FROM models WHERE name = 'y' AND version = 1"
            return bytes((await tx.execute(text(statement))).scalar_one())

    async def path(self, name: str, version: int = 1, model: str = "y") -> Path:
        manifest = (await self.record(version, model)).manifest
        named = {**manifest["files"], "data": manifest["data"]["artefact"]}[name].removeprefix("sha256:")
        return (await self.app.storage()).artefacts.folder / "sha256" / named[:2] / named[2:]


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def flipped(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ draw.randrange(1, 256)]) + content[place + 1 :]


async def flip(place: Place, part: str, draw: random.Random, verdict: Callable[[], Awaitable[Any]]) -> Any:
    """What is said of the version with one byte of a part changed; then it's as before."""
    if part == "signature":
        before = (await place.record()).signature
        await place.rewrite(signature=flipped(before, draw))
        said = await verdict()
        await place.rewrite(signature=before)
        return said
    if part == "manifest":
        raw = await place.raw_manifest()
        await place.raw_manifest(flipped(raw, draw))
        said = await verdict()
        await place.raw_manifest(raw)
        return said
    path = await place.path(part)
    with changed(path, flipped(path.read_bytes(), draw)):
        return await verdict()


def test_two_hundred_changed_bytes_over_all_parts_of_a_version_are_refused_and_told(env: dict[str, str]) -> None:
    async def scene(place: Place) -> None:
        draw = random.Random(20)
        for number in range(FLIPS):
            part = PARTS[number % len(PARTS)]
            assert await flip(place, part, draw, place.verified) != "passed", (number, part)
        assert await place.verified() == "passed"

    in_app(env, scene)


def test_the_control_without_digests_changed_bytes_are_not_found_and_loaded(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(place: Place) -> None:
        storage = await place.app.storage()
        draw = random.Random(20)

        async def found() -> int:
            checks, paths = await check_files(storage, await place.record())
            assert bool(paths) == all(check["state"] == "passed" for check in checks)
            return len(paths)

        assert [await flip(place, part, draw, found) for part in FILES] == [0] * len(FILES)

        async def stated(content: bytes) -> str:
            return next(digest for digest, size in sizes.items() if size == len(content))

        sizes = await storage.artefacts.listed()
        with monkeypatch.context() as patched:
            patched.setattr(artefact_files, "_digest", stated)
            patched.setattr(artefact_files, "_digest_of_file", lambda path: path.parent.name + path.name)
            assert [await flip(place, part, draw, found) for part in FILES] == [len(FILES)] * len(FILES)
            # All the way through: a row that was learned from is another one now, and nobody notices.
            assert await flip(place, "seen_rows.bin", draw, place.verified) == "passed"

    in_app(env, scene)


def test_dropped_swapped_and_renamed_files_are_refused(env: dict[str, str]) -> None:
    async def scene(place: Place) -> None:
        for name in FILES:
            path = await place.path(name)
            aside = path.with_name("0" * 62)
            path.rename(aside)  # dropped, and there under another name
            assert await place.verified() == "failed", name
            aside.rename(path)
            other = await place.path(name, 2)
            if other != path:
                with changed(path, other.read_bytes()):
                    assert await place.verified() == "failed", name

    in_app(env, scene)


async def tamperings(place: Place) -> dict[str, dict[str, Any]]:
    """Records that someone with the database could write in the place of y@1's."""
    one, two = await place.record(1), await place.record(2)
    files, others = one.manifest["files"], two.manifest["files"]
    unnumbered = {**one.manifest, "version": 0}
    names = [column.name for column in tables.models.c if column.name not in ("id", "name", "folded", "version")]
    whole = {name: getattr(two, name) for name in names}
    return {
        "a file dropped from the manifest": {
            "manifest": {**one.manifest, "files": {name: files[name] for name in files if name != "seen_rows.bin"}}
        },
        "a file added to the manifest": {
            "manifest": {**one.manifest, "files": {**files, "more.bin": files["form.json"]}}
        },
        "a file renamed in the manifest": {
            "manifest": {**one.manifest, "files": {f"{name}x": digest for name, digest in files.items()}}
        },
        "the other version's files": {"manifest": {**one.manifest, "files": others}},
        "the other version's whole record": {**whole, "digest": "sha256:" + "1" * 64, "run_id": "r1"},
        "the other version's manifest and signature": {"manifest": two.manifest, "signature": two.signature},
        "what was signed before it had a number": {
            "manifest": unnumbered,
            "signature": (await place.app.storage()).keys.sign(canonical_bytes(unnumbered)),
        },
        "no signature": {"signature": b""},
        "better metrics": {"metrics": {**one.metrics, "split": "a better one"}},
        "other data": {"dataset": "table@2"},
    }


def test_records_that_were_rewritten_are_refused(env: dict[str, str], tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        before = await place.record()
        forged = await tamperings(place)
        other = Keys.open(tmp_path / "keys")
        forged["another installation's signature"] = {"signature": other.sign(canonical_bytes(before.manifest))}
        for what, values in forged.items():
            await place.rewrite(**values)
            try:
                assert await place.verified() != "passed", what
            finally:
                await place.rewrite(**{name: getattr(before, name) for name in values})

    in_app(env, scene)


def test_a_deleted_version_that_is_put_back_is_refused(env: dict[str, str]) -> None:
    """An older signed version, replayed with all of its genuine signatures."""

    async def scene(place: Place) -> None:
        storage = await place.app.storage()
        async with storage.database.transaction() as tx:
            query = select(tables.models).where(tables.models.c.name == "y", tables.models.c.version == 1)
            row = dict((await tx.execute(query)).mappings().one())
            await versions.remove(tx, tables.models, await models.get(tx, "y", 1))
        async with storage.database.transaction() as tx:
            await tx.execute(insert(tables.models).values(**row))
        assert await place.verified() == "E_CORRUPT"
        with pytest.raises(CorruptArtefact, match=r"was deleted on .*; someone put it back"):
            await (await place.app.predictors()).get("y@1")
        async with storage.database.transaction() as tx:
            await tx.execute(delete(tables.deletions))
        assert await place.verified() == "passed", (
            "the control: without the note of the deletion it's as genuine as ever"
        )

    in_app(env, scene)


def test_a_tampered_version_that_is_asked_is_refused_and_told(env: dict[str, str]) -> None:
    async def scene(place: Place) -> None:
        from mcp_server.workflows.predicting import predict

        call = place.call("predict")
        path = await place.path("form.json")
        with changed(path, flipped(path.read_bytes(), random.Random(1))), pytest.raises(CorruptArtefact):
            await predict(place.app, call, "y@1", [{"x": 3, "z": 1}], None, "first")
        (row,) = await place.audited(call.request_id)
        assert (row.action, row.outcome, row.subject) == ("refuse", "E_CORRUPT", "model:y@1")

    in_app(env, scene)


# What is asked beyond that --------------------------------------------------------------------------------------


async def checks_of(place: Place, model: str) -> tuple[str, dict[str, dict[str, str]]]:
    said = await verifying.verify(place.app, place.call(), model)
    return said.verdict, {check["name"]: check for check in said.checks}


def test_a_sound_version_is_told_where_it_comes_from_and_what_could_not_be_looked_at(env: dict[str, str]) -> None:
    async def scene(place: Place) -> None:
        verdict, checks = await checks_of(place, "y@1")
        assert verdict == "passed"
        passed = {name for name, check in checks.items() if check["state"] == "passed"}
        assert passed == {*REQUIRED_HERE, "age", "seen_rows_file", "standing"}
        assert {name: checks[name]["state"] for name in set(checks) - passed} == {
            "membership": "not_done",
            "drift": "not_done",
        }
        # Its rows come again and again: hardly one that was held out is unlike all that were learned from.
        assert "50 rows" in checks["membership"]["detail"]
        assert "no newer version" in checks["drift"]["detail"]

    in_app(env, scene)


def people(rows: int, *, shift: float = 0.0) -> str:
    """A table about people whose outcome is a coin's."""
    draw = random.Random(rows)
    lines = [
        f"p{at}@example.org,{draw.gauss(shift, 1):.4f},{draw.gauss(0, 1):.4f},{draw.randrange(2)}" for at in range(rows)
    ]
    return "\n".join(["email,x,z,y", *lines]) + "\n"


def test_a_model_that_knows_people_by_heart_answers_only_where_a_person_said_so(env: dict[str, str]) -> None:
    async def train() -> None:
        async with Client(build_server(settings.load(env))) as client:
            await told(client, "import_data", name="people", text=people(300), target="y")
            await told(client, "train_model", model="heart", dataset="people@1", algorithm="extra_trees")
            job = await told(client, "get_job", job="heart", wait=50.0)
            (made,) = job.structured_content["result"]["versions"]
            assert made["verification"] == "failed"
            assert (await refused(client, "predict", model="heart@1", rows=[{"x": 1, "z": 1}]))[
                "code"
            ] == "E_UNVERIFIED"
            await told(client, "import_data", name="people", text=people(200, shift=1.5), target="y")

    asyncio.run(train())

    async def overridden(place: Place) -> None:
        call = place.call()
        said = await verifying.verify(place.app, call, "heart@1")
        checks = {check["name"]: check for check in said.checks}
        assert (said.verdict, checks["membership"]["state"]) == ("passed", "warned")
        assert checks["membership"]["detail"].endswith("Overridden by COURTSIDE_MEMBERSHIP_OVERRIDES.")
        assert checks["drift"]["state"] == "warned"
        assert "1 columns are distributed otherwise" in checks["drift"]["detail"]
        (row,) = await place.audited(call.request_id)
        assert row.details == {"verdict": "passed", "overridden": ["membership"]}
        assert (await (await place.app.predictors()).get("heart@1")).reference == "heart@1"
        # Nothing else is overridden.
        path = await place.path("golden.json", model="heart")
        with changed(path, flipped(path.read_bytes(), random.Random(2))):
            assert await place.verified("heart@1") == "failed"

    in_app(env, overridden, membership_overrides="heart@1")


def test_a_model_that_knows_rows_by_heart_answers_and_comes_into_no_production(env: dict[str, str]) -> None:
    lines = [line.partition(",")[2] for line in people(300).splitlines()]

    async def train() -> None:
        async with Client(build_server(settings.load(env))) as client:
            await told(client, "import_data", name="coins", text="\n".join(lines), target="y")
            await told(client, "train_model", model="coins", dataset="coins@1", algorithm="extra_trees")
            job = await told(client, "get_job", job="coins", wait=50.0)
            (made,) = job.structured_content["result"]["versions"]
            assert made["verification"] == "passed"

    asyncio.run(train())
    move = governing.Review(model="coins@1", stage="production")

    async def barred(place: Place) -> None:
        with pytest.raises(PolicyUnmet, match="whether it was learned from") as refused:
            await governing.review(place.app, place.call(), move)
        assert refused.value.details == {"unmet": ["barred"]}
        assert (await governing.review(place.app, place.call(), replace(move, stage="staging"))).stage == "staging"
        # Who writes another state into the record has no verdict of ours any more.
        async with (await place.app.storage()).database.transaction() as tx:
            found = await models.latest_verification(tx, "coins", 1)
            said = [check | {"state": "warned"} if check["state"] == "barred" else check for check in found.checks]
            await models.set_verification(tx, "coins", 1, verdict="passed", checks=said)
        with pytest.raises(PolicyUnmet, match="didn't pass") as refused:
            await governing.review(place.app, place.call(), move)
        assert refused.value.details == {"unmet": ["verified"]}

    in_app(env, barred)

    async def overridden(place: Place) -> None:
        await verifying.verify(place.app, place.call(), "coins@1")
        assert (await governing.review(place.app, place.call(), move)).stage == "production"

    in_app(env, overridden, membership_overrides="coins@1")


def test_the_child_that_loads_a_version_is_limited_and_has_no_network(env: dict[str, str]) -> None:
    async def scene(place: Place) -> None:
        await verifying.verify(place.app, place.call(), "y@1")
        held = (await place.app.compute()).isolation(fresh=True)
        assert held["process"]
        if sys.platform == "linux":
            assert {name for name, holds in held.items() if holds} >= {"memory", "cpu", "network", "orphans"}

    in_app(env, scene)


# Manifests ---------------------------------------------------------------------------------------------------------

KEYS = Keys(data=b"d" * 32, signing=b"s" * 32, hashing=b"h" * 32)


def test_no_manifest_verifies_after_any_change_of_a_single_byte(env: dict[str, str]) -> None:
    """Every place of a real manifest and of its signature."""

    async def scene(place: Place) -> None:
        record, keys = await place.record(), (await place.app.storage()).keys
        content, signature, draw = canonical_bytes(record.manifest), record.signature, random.Random(0)
        assert keys.verify(content, signature)
        for at in range(len(content)):
            other = bytes([content[at] ^ draw.randrange(1, 256)])
            assert not keys.verify(content[:at] + other + content[at + 1 :], signature), at
        for at in range(len(signature)):
            for bit in range(8):
                other = bytes([signature[at] ^ 1 << bit])
                assert not keys.verify(content, signature[:at] + other + signature[at + 1 :]), (at, bit)

    in_app(env, scene)


@given(st.data(), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), min_size=1, max_size=5))
def test_no_content_verifies_after_a_change_of_a_single_byte(data: st.DataObject, manifest: dict[str, Any]) -> None:
    try:
        content = canonical_bytes(manifest)
    except CourtsideError:  # half of a surrogate pair, or a number beyond what JSON readers agree on
        return
    at = data.draw(st.integers(0, len(content) - 1))
    other = bytes([content[at] ^ data.draw(st.integers(1, 255))])
    signature = KEYS.sign(content)
    assert KEYS.verify(content, signature)
    assert not KEYS.verify(content[:at] + other + content[at + 1 :], signature)
