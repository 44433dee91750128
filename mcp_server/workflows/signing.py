"""The key that signs, as a person looks after it: listed, replaced, revoked, given to others; and signing anew."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.context import CallContext, Caller
from mcp_server.core.canonical import canonical_bytes
from mcp_server.errors import Conflict, InvalidInput, StorageFailed, Unverified
from mcp_server.settings import Settings
from mcp_server.workflows.app import App, own_app

if TYPE_CHECKING:
    from mcp_server.storage.key_ring import SigningKey
    from mcp_server.storage.records import ModelVersion

LONGEST_WHY = 200


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key, and the model versions whose manifest it signed."""

    key: SigningKey
    models: tuple[str, ...]


async def listed(settings: Settings) -> list[ListedKey]:
    """Every key, the oldest first."""
    from mcp_server.storage import models

    async with own_app(settings) as app:
        storage = await app.storage()
        ring = storage.keys.ring
        signed: dict[str, list[str]] = {key.id: [] for key in ring.keys}
        async with storage.database.reading() as tx:
            records = await models.signed(tx)
        for name, version, manifest, signature in records:
            signer = ring.signer(canonical_bytes(manifest), signature)
            if signer is not None:
                signed[signer.id].append(f"{name}@{version}")
        return [ListedKey(key, tuple(signed[key.id])) for key in ring.keys]


async def rotate(settings: Settings) -> SigningKey:
    """Have a new key sign from now on."""
    from mcp_server.storage import key_changes

    async with _called(settings) as (app, call):
        storage = await app.storage()
        return await key_changes.rotate(storage.database, storage.keys, call)


async def revoke(settings: Settings, key: str, why: str) -> SigningKey:
    """Have what a key signed trusted no longer.

    Raises:
        InvalidInput: no reason is given, or a long one.
        NotFound: there is no such key.
        Conflict: it signs now, or is revoked already.
    """
    from mcp_server.storage import key_changes

    if not 0 < len(why.strip()) <= LONGEST_WHY or not why.isprintable():
        raise InvalidInput("A key is revoked for a reason.", hint=f"Say it in up to {LONGEST_WHY} letters with --why.")
    async with _called(settings) as (app, call):
        storage = await app.storage()
        return await key_changes.revoke(storage.database, storage.keys, call, key, why.strip())


async def exported(settings: Settings, key: str | None) -> str:
    """A public key in PEM; the one that signs now where none is named.

    Raises:
        NotFound: there is no such key.
    """
    async with own_app(settings) as app:
        return (await app.storage()).keys.ring.get(key).pem()


async def export_manifest(settings: Settings, model: str, folder: Path) -> list[Path]:
    """Write what others need to check a version without this program: its manifest, the signature and the key.

    Returns:
        manifest.json, manifest.sig and key.pem in the folder, which is made where it isn't there.
    Raises:
        NotFound, Conflict: there is no such version, or several.
        Unverified: none of this installation's keys signed it, or that key was revoked.
        StorageFailed: the files can't be written.
    """
    async with own_app(settings) as app:
        storage = await app.storage()
        record = await _record(app, model)
        manifest = canonical_bytes(record.manifest)
        signer = storage.keys.ring.signer(manifest, record.signature)
        if signer is None or not storage.keys.check(manifest, record.signature):
            raise _not_ours(record)
    files = {
        folder / "manifest.json": manifest,
        folder / "manifest.sig": record.signature,
        folder / "key.pem": signer.pem().encode(),
    }
    await asyncio.to_thread(_write, folder, files)
    return list(files)


async def sign_again(settings: Settings, model: str, digest: str | None) -> ModelVersion:
    """Sign a version with the key that signs now, once everything else about it passes; it's then verified.

    Where its standing isn't as sealed, it's a candidate without owner, tags and approvals from then on.

    Args:
        digest: the version's, as someone noted it where who had the old key couldn't write.
    Raises:
        InvalidInput: no digest is given.
        Conflict: the version has another digest.
        Unverified: none of this installation's keys ever signed its manifest, or another check fails.
    """
    from mcp_server.serving.seals import sealed
    from mcp_server.storage import governance, models
    from mcp_server.workflows.examining import VerificationPolicy, examine, verdict_of

    async with _called(settings) as (app, call):
        storage = await app.storage()
        record = await _record(app, model)
        reference = f"{record.name}@{record.version}"
        if digest is None:
            raise InvalidInput(
                f"{reference} isn't signed without its digest: whoever had the old key could have put another model "
                "there.",
                hint="Compare what you noted elsewhere (a card, a log, another machine) with "
                f"{record.digest}, and give it with --digest.",
            )
        if digest != record.digest:
            raise Conflict(f"{reference} has another digest; it isn't signed.", hint="Train it again from its data.")
        manifest = canonical_bytes(record.manifest)
        if storage.keys.ring.signer(manifest, record.signature) is None:
            raise _not_ours(record)
        record = replace(record, signature=storage.keys.sign(manifest))
        checks = await examine(
            storage,
            await app.compute(),
            record,
            seconds=settings.job_seconds,
            policy=VerificationPolicy.of(settings),
        )
        if verdict_of(checks) != "passed":
            names = ", ".join(check["name"] for check in checks if check["state"] in ("failed", "not_done"))
            raise Unverified(f"{reference} isn't signed: {names}.", hint="Train it again from its data.")
        async with storage.database.transaction(call) as tx:
            dropped = await governance.begin_again(tx, record)
            await models.set_signature(tx, record.name, record.version, record.signature)
            stored = sealed(storage.keys, record, "passed", checks)
            await models.set_verification(tx, record.name, record.version, verdict="passed", checks=stored)
            tx.about(
                f"model:{reference}",
                do="sign",
                key=storage.keys.public_key_id,
                digest=record.digest,
                **({"standing": "dropped"} if dropped else {}),
            )
        return record


async def _record(app: App, model: str) -> ModelVersion:
    from mcp_server.storage import models

    async with (await app.storage()).database.reading() as tx:
        return await models.resolve(tx, model)


def _write(folder: Path, files: dict[Path, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            path.write_bytes(content)
    except OSError:
        raise StorageFailed(f"{str(folder)!r} can't be written.", hint="Name a folder of your own with --to.") from None


def _not_ours(record: ModelVersion) -> Unverified:
    return Unverified(
        f"No key of this installation signed the manifest of {record.name}@{record.version}.",
        hint="Train it again from its data; courtside audit verify says whether the database was touched.",
    )


@asynccontextmanager
async def _called(settings: Settings) -> AsyncIterator[tuple[App, CallContext]]:
    async with own_app(settings) as app:
        caller = Caller("local", frozenset())
        yield app, CallContext(caller, request_id=secrets.token_hex(8), tool="cli:keys", clock=app.clock)
