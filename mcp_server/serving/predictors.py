"""Compiled models, kept while they are verified.

A version is loaded once: its record, its latest verification, the seals of both, its manifest's signature, its form's
digest; then it's compiled. What was verified is looked at again after a few seconds, so that a version which fails a
verification in another process, or is changed behind this program's back, stops answering here too.
"""

from __future__ import annotations

import asyncio
import gc
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from mcp_server.context import Clock
from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.predictor import Predictor, compile_form
from mcp_server.errors import CorruptArtefact, Unverified
from mcp_server.serving.seals import genuine
from mcp_server.storage.records import ModelVersion

if TYPE_CHECKING:
    from mcp_server.storage import Storage

MOST_LOADED = 64
FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model version that may answer.

    Args:
        personal: columns that the prediction log stores as keyed hashes.
        unread: columns of the training table that the model doesn't read; a row copied from it may have them.
    """

    name: str
    version: int
    digest: str
    predictor: Predictor
    personal: frozenset[str]
    unread: frozenset[str]
    checked: float

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


class Predictors:
    """The loaded models of one server.

    Args:
        storage: where models, verifications and artefacts are.
        clock: freshness is on its monotonic side.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._loading: dict[str, asyncio.Lock] = {}
        self._settled = False

    async def get(self, reference: str) -> Loaded:
        """The version, compiled.

        Args:
            reference: `name@version`, `name@production` or `name@staging`, or `name` where there is one version.
        Raises:
            NotFound: there is no such model or version.
            Conflict: the name alone, or a stage, where there are several versions.
            Unverified: it was never verified, its latest verification failed, or its key was revoked.
            CorruptArtefact: what is stored isn't what was signed.
        """
        loaded = self._loaded.get(reference)
        if loaded is not None and self._clock.monotonic() - loaded.checked < FRESH_SECONDS:
            self._loaded.move_to_end(reference)
            return loaded
        async with self._loading.setdefault(reference, asyncio.Lock()):
            loaded = self._loaded.get(reference)
            if loaded is None or self._clock.monotonic() - loaded.checked >= FRESH_SECONDS:
                try:
                    loaded = await self._load(reference, loaded)
                except BaseException:
                    self._loaded.pop(reference, None)
                    self._loading.pop(reference, None)  # any text can be asked for
                    raise
                self._loaded[reference] = loaded
                if len(self._loaded) > MOST_LOADED:
                    gone, _ = self._loaded.popitem(last=False)
                    self._loading.pop(gone, None)
        return loaded

    def evict(self, name: str, version: int) -> None:
        """Forget a version, so that the next call looks at it anew."""
        for reference, loaded in list(self._loaded.items()):
            if (loaded.name, loaded.version) == (name, version):
                del self._loaded[reference]

    async def _load(self, reference: str, known: Loaded | None) -> Loaded:
        from mcp_server.storage import ledger, models

        async with self._storage.database.reading() as tx:
            record = await models.resolve(tx, reference)
            wrong = await ledger.wrong(tx, record.name, record.version)
            verification = await models.latest_verification(tx, record.name, record.version)
        named = f"{record.name}@{record.version}"
        signed = self._storage.keys.check(canonical_bytes(record.manifest), record.signature, named)
        sealed = verification is not None and genuine(self._storage.keys, record, verification)
        if verification is None or not sealed or verification.verdict != "passed":
            state = "was never verified" if not sealed else "failed its latest verification"
            raise Unverified(
                f"{named} {state}, so it doesn't answer.",
                hint=f"Call verify_model with model {named}, or train again.",
            )
        if not signed:
            raise _not_as_signed(record)
        if wrong:
            raise Unverified(
                f"{named} doesn't answer: {ledger.TOLD[wrong[-1]]}.",
                hint=ledger.NEXT[wrong[-1]].format(model=named),
            )
        if known is not None and known.digest == record.digest:
            return replace(known, checked=self._clock.monotonic())
        return await self._compiled(record)

    async def _compiled(self, record: ModelVersion) -> Loaded:
        stated = {name: record.manifest.get(name) for name in ("model", "version", "digest")}
        named = {"model": record.name, "version": record.version, "digest": record.digest}
        if stated != named or record.manifest.get("files", {}).get("form.json") != record.artefact:
            raise _not_as_signed(record)
        raw = await self._storage.artefacts.get(record.artefact)
        document = await asyncio.to_thread(orjson.loads, raw)
        predictor = await asyncio.to_thread(compile_form, document["form"])
        columns = document["contract"]["columns"]
        personal = frozenset(column["name"] for column in columns if column.get("personal"))
        unread = {column["name"] for column in columns} - {*predictor.required, *predictor.optional}
        if not self._settled:
            # What is in memory by now stays for good: modules, schemas, storage. The collector needn't walk it again.
            gc.freeze()
            self._settled = True
        return Loaded(
            record.name,
            record.version,
            record.digest,
            predictor,
            personal,
            frozenset(unread),
            self._clock.monotonic(),
        )


def _not_as_signed(record: ModelVersion) -> CorruptArtefact:
    return CorruptArtefact(
        f"{record.name}@{record.version} isn't what was signed when it was trained.",
        hint=f"Call verify_model with model {record.name}@{record.version} to see which check fails.",
    )
