"""Replacing and revoking the key that signs: what it signed stays good, or doesn't, and no kill leaves a half of it."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from mcp_server.context import CallContext, SystemClock
from mcp_server.errors import BadConfiguration, Conflict, NotFound, Unverified
from mcp_server.storage import Storage, audit, key_changes, open_storage
from mcp_server.storage.audit_chain import Head
from mcp_server.storage.keys import Keys
from mcp_server.storage.private_files import replace_whole
from mcp_server.storage.tables import audit as rows
from storage.fixtures import HandClock
from storage.rotating_process import SIGNED
from storage.rounds import Rounds

pytestmark = pytest.mark.anyio

Calls = Callable[..., CallContext]
MANIFEST = b"a manifest"


async def rotated(storage: Storage, make_call: Calls) -> str:
    return (await key_changes.rotate(storage.database, storage.keys, make_call())).id


async def revoked(storage: Storage, make_call: Calls, key: str) -> str:
    return (await key_changes.revoke(storage.database, storage.keys, make_call(), key, "a laptop was lost")).state


async def chain(storage: Storage, seen: tuple[Head, ...] = ()) -> tuple[str, ...]:
    async with storage.database.reading() as tx:
        return (await audit.check_chain(tx, seen=seen)).problems


async def told(storage: Storage) -> list[tuple[str, str]]:
    async with storage.database.reading() as tx:
        found = await tx.execute(select(rows.c.subject, rows.c.details).order_by(rows.c.place))
        return [(row.subject, row.details["do"]) for row in found if (row.subject or "").startswith("key:")]


async def test_a_new_key_signs_and_what_the_old_one_signed_stays_good(storage: Storage, make_call: Calls) -> None:
    old, before = storage.keys.public_key_id, storage.keys.sign(MANIFEST)
    new = await rotated(storage, make_call)
    after = storage.keys.sign(MANIFEST)
    assert storage.keys.public_key_id == new != old
    assert after != before
    assert storage.keys.verify(MANIFEST, before)
    assert storage.keys.verify(MANIFEST, after)
    assert not storage.keys.verify(MANIFEST, before, storage.keys.public_key)
    assert [key.state for key in storage.keys.ring.keys] == ["retired", "signing"]
    assert await told(storage) == [(f"key:{new}", "rotate")]


async def test_the_audit_log_stays_sound_over_rotation_and_revocation(storage: Storage, make_call: Calls) -> None:
    heads: list[Head] = []
    for _ in range(3):
        async with storage.database.transaction(make_call()):
            pass
        old = storage.keys.public_key_id
        await rotated(storage, make_call)
        assert await chain(storage, tuple(heads)) == ()
        await revoked(storage, make_call, old)
        async with storage.database.reading() as tx:
            heads.append(await audit.last(tx))
        assert await chain(storage, tuple(heads)) == ()


async def test_what_a_revoked_key_signed_is_refused_with_the_reason(storage: Storage, make_call: Calls) -> None:
    old, signature = storage.keys.public_key_id, storage.keys.sign(MANIFEST)
    with pytest.raises(Conflict, match="signs now"):
        await revoked(storage, make_call, old)
    await rotated(storage, make_call)
    assert await revoked(storage, make_call, old) == "revoked"
    assert not storage.keys.verify(MANIFEST, signature)
    with pytest.raises(Unverified, match=rf"key {old}, which was revoked on \d{{4}}-"):
        storage.keys.check(MANIFEST, signature)
    assert storage.keys.check(MANIFEST, storage.keys.sign(MANIFEST))
    with pytest.raises(Conflict, match="was revoked on"):
        await revoked(storage, make_call, old)
    with pytest.raises(NotFound, match="no key"):
        await revoked(storage, make_call, "0" * 16)


async def test_a_process_that_runs_takes_up_what_another_one_changes(
    storage: Storage, make_call: Calls, tmp_path: Path
) -> None:
    other = Keys.open(tmp_path / "data" / "keys")
    signature, old = other.sign(MANIFEST), other.public_key_id
    new = await rotated(storage, make_call)
    assert other.public_key_id == new
    assert other.sign(MANIFEST) == storage.keys.sign(MANIFEST)
    await revoked(storage, make_call, old)
    assert not other.verify(MANIFEST, signature)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_the_files_are_private_and_one_private_key_is_left(
    storage: Storage, make_call: Calls, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "keys"
    private = (folder / "signing.key").read_bytes()
    for _ in range(3):
        await rotated(storage, make_call)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir() if path.suffix != ".head")
    assert len(list(folder.glob("signing*.key"))) == 1
    assert not any(private in path.read_bytes() for path in folder.iterdir())
    (folder / "signing.ring").chmod(0o640)
    with pytest.raises(BadConfiguration, match="read by others"):
        Keys.open(folder)


EMPTY_RING = b'{"format": "courtside.keys/1", "keys": [], "pending": null}'
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "damage", [b"", b"{}", EMPTY_RING, DEEP, None], ids=["no bytes", "{}", "no keys", "deep", "gone"]
)
async def test_a_damaged_or_missing_ring_is_refused_and_no_new_key_is_made(
    storage: Storage, make_call: Calls, tmp_path: Path, damage: bytes | None
) -> None:
    await rotated(storage, make_call)
    folder = tmp_path / "data" / "keys"
    if damage is None:
        (folder / "signing.ring").unlink()
    else:
        replace_whole(folder / "signing.ring", damage)
    with pytest.raises(BadConfiguration, match=r"damaged|missing"):
        Keys.open(folder)
    assert not (folder / "signing.key").exists()


async def test_a_rotation_that_was_not_committed_is_dropped(
    storage: Storage, make_call: Calls, tmp_path: Path, database_url: str, clock: HandClock
) -> None:
    old = storage.keys.public_key_id
    with suppress(ZeroDivisionError):
        async with storage.database.transaction(make_call()) as tx:
            change = storage.keys.ring.propose_rotation(tx.now)
            tx.about(f"key:{change.key}", change=change.token, do="rotate")
            raise ZeroDivisionError
    assert storage.keys.public_key_id == old
    again = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
    assert (again.keys.public_key_id, again.keys.ring.unsettled) == (old, False)
    await again.close()


async def test_a_rotation_that_was_committed_is_made_by_whoever_comes_next(
    storage: Storage, make_call: Calls, tmp_path: Path, database_url: str, clock: HandClock
) -> None:
    async with storage.database.transaction(make_call()) as tx:
        change = storage.keys.ring.propose_rotation(tx.now)
        tx.about(f"key:{change.key}", change=change.token, do="rotate")
    assert storage.keys.public_key_id != change.key
    again = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
    assert (again.keys.public_key_id, again.keys.ring.unsettled) == (change.key, False)
    assert storage.keys.public_key_id == change.key
    await again.close()


async def amiss_after_kills(folder: Path, process: str, kills: int) -> tuple[int, list[str]]:
    """Kill rotations at random moments, and look each time whether ring, audit log, signatures and files agree.

    Returns:
        how many keys were acknowledged; what didn't agree.
    """
    moments = random.Random(1)
    signed: dict[str, str] = {}
    amiss: list[str] = []
    with Rounds(process) as rounds:
        for _ in range(kills):
            said = rounds.kill_after(2, str(folder), share=moments.random())
            signed |= dict(one.split(" ") for one in said)
            url = f"sqlite:///{folder / 'courtside.db'}"
            storage = await open_storage(database_url=url, data_dir=folder, clock=SystemClock())
            ring = storage.keys.ring
            left = {path for path in os.listdir(folder / "keys") if "signing" in path}
            holds = {
                "audit rows": [key for key, _ in await told(storage)] == [f"key:{key.id}" for key in ring.keys[1:]],
                "chain": await chain(storage) == (),
                "signatures": all(storage.keys.verify(SIGNED, bytes.fromhex(one)) for one in signed.values()),
                "files": left == {"signing.ring", f"signing-{storage.keys.public_key_id}.key"},
            }
            amiss += [what for what, held in holds.items() if not held]
            await storage.close()
    return len(signed), amiss


@pytest.mark.fault
async def test_a_rotation_that_is_killed_anywhere_happens_with_its_audit_row_or_not_at_all(tmp_path: Path) -> None:
    acknowledged, amiss = await amiss_after_kills(tmp_path / "data", "rotating_process.py", 10)
    assert amiss == []
    assert acknowledged >= 20


@pytest.mark.fault
async def test_the_control_that_changes_the_ring_before_the_commit_fails_the_same_check(tmp_path: Path) -> None:
    _, amiss = await amiss_after_kills(tmp_path / "data", "early_rotating_process.py", 10)
    assert "audit rows" in amiss, "a check that can't fail shows nothing"


def test_the_exported_key_and_signature_are_checked_by_openssl(tmp_path: Path) -> None:
    keys = Keys.open(tmp_path / "keys")
    (tmp_path / "key.pem").write_text(keys.ring.signing.pem())
    (tmp_path / "manifest.json").write_bytes(MANIFEST)
    (tmp_path / "manifest.sig").write_bytes(keys.sign(MANIFEST))
    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in manifest.json -sigfile manifest.sig"
    try:
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully")
    (tmp_path / "manifest.json").write_bytes(MANIFEST + b" ")
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 1
