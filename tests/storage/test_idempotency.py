"""Repeated calls: one effect, the same answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mcp_server.context import CallContext, Caller
from mcp_server.errors import InProgress, InvalidInput, KeyReused
from mcp_server.storage import Storage, audit, idempotency, jobs, open_storage
from mcp_server.storage.ids import new_id
from mcp_server.storage.in_flight import Replayed, in_flight
from mcp_server.storage.tables import claims
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

Calls = Callable[..., CallContext]
ANSWER: dict[str, Any] = {"z": 1, "a": [1.0, 1e16, -0.0, None], "t": "é\u2028🏀"}


async def do(storage: Storage, call: CallContext, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    """A unit of work with one effect: a job."""
    answer = ANSWER if answer is None else answer
    async with storage.database.transaction(call) as tx:
        id = new_id("j", tx.now)
        await jobs.enqueue(tx, id=id, kind="train", arguments={}, caller=call.caller.id, runtime_version="1")
        tx.answer(answer)
        tx.about(f"job:{id}", rows=3)
    return answer


async def effects(storage: Storage) -> int:
    async with storage.database.reading() as tx:
        return sum((await jobs.count_by_state(tx)).values())


async def test_a_repeated_call_is_answered_with_the_first_answer_byte_for_byte(
    storage: Storage, make_call: Calls
) -> None:
    call = make_call(key="k1")
    await do(storage, call)
    with pytest.raises(Replayed) as repeated:
        await do(storage, call, {"other": 1})
    assert json.dumps(repeated.value.answer) == json.dumps(ANSWER)
    assert await effects(storage) == 1


async def test_fifty_concurrent_calls_with_one_key_have_one_effect(storage: Storage, make_call: Calls) -> None:
    calls = [make_call(key="k1") for _ in range(50)]
    ended = await asyncio.gather(
        *(do(storage, call, {"n": index}) for index, call in enumerate(calls)), return_exceptions=True
    )
    done = [end for end in ended if isinstance(end, dict)]
    replays = [end.answer for end in ended if isinstance(end, Replayed)]
    assert len(done) == 1
    assert replays == done * 49
    assert await effects(storage) == 1


async def test_other_arguments_under_the_same_key_are_refused(storage: Storage, make_call: Calls) -> None:
    await do(storage, make_call(key="k1"))
    with pytest.raises(KeyReused):
        await do(storage, make_call(key="k1", arguments_digest="b" * 64))
    assert await effects(storage) == 1


async def test_a_key_belongs_to_a_caller_and_a_tool(storage: Storage, make_call: Calls) -> None:
    await do(storage, make_call(key="k1"))
    await do(storage, make_call(key="k1", tool="other_tool"))
    await do(storage, make_call(key="k1", caller=Caller("key:ci", frozenset())))
    assert await effects(storage) == 3


async def test_after_a_restart_the_first_answer_is_replayed(
    database_url: str, tmp_path: Path, clock: HandClock, make_call: Calls
) -> None:
    for expected in (None, ANSWER):
        storage = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
        async with storage.database.reading() as tx:
            stored = await idempotency.find(tx, "local", "some_tool", "k1", "a" * 64, clock.now())
        assert stored == expected
        if expected is None:
            await do(storage, make_call(key="k1"))
        await storage.close()


async def test_a_large_answer_is_kept_as_an_artefact(storage: Storage, make_call: Calls) -> None:
    large = {"rows": ["x" * 100] * 1_000}
    call = make_call(key="k1")
    await do(storage, call, large)
    async with storage.database.reading() as tx:
        row = (await tx.execute(select(claims))).one()
    assert row.answer is None
    assert await storage.artefacts.exists(row.answer_artefact)
    with pytest.raises(Replayed) as repeated:
        await do(storage, call)
    assert repeated.value.answer == large


async def test_a_failed_call_leaves_its_key_free(storage: Storage, make_call: Calls) -> None:
    call = make_call(key="k1")
    with pytest.raises(ZeroDivisionError):
        async with storage.database.transaction(call) as tx:
            tx.answer({"n": 1 // 0})
    assert await do(storage, call) == ANSWER


async def test_an_expired_claim_is_replaced(storage: Storage, make_call: Calls, clock: HandClock) -> None:
    await do(storage, make_call(key="k1"))
    clock.move(timedelta(hours=24))
    async with storage.database.reading() as tx:
        assert await idempotency.find(tx, "local", "some_tool", "k1", "a" * 64, clock.now()) is None
    await do(storage, make_call(key="k1", arguments_digest="b" * 64), {"second": True})
    with pytest.raises(Replayed) as repeated:
        await do(storage, make_call(key="k1", arguments_digest="b" * 64))
    assert repeated.value.answer == {"second": True}
    assert await effects(storage) == 2


async def test_expired_claims_are_forgotten_and_the_others_kept(
    storage: Storage, make_call: Calls, clock: HandClock
) -> None:
    await do(storage, make_call(key="old"))
    clock.move(timedelta(hours=23))
    await do(storage, make_call(key="young"))
    clock.move(timedelta(hours=2))
    async with storage.database.transaction() as tx:
        assert await idempotency.forget_expired(tx) == 1
        assert (await tx.execute(select(claims.c.key))).scalars().all() == ["young"]


async def test_a_call_with_a_key_must_say_its_answer(storage: Storage, make_call: Calls) -> None:
    with pytest.raises(RuntimeError, match="answer"):
        async with storage.database.transaction(make_call(key="k1")) as tx:
            await jobs.enqueue(tx, id="j_1", kind="train", arguments={}, caller="local", runtime_version="1")
    assert await effects(storage) == 0


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_without_a_sensible_length_is_refused(storage: Storage, make_call: Calls, key: str) -> None:
    with pytest.raises(InvalidInput, match="256"):
        await do(storage, make_call(key=key))


async def test_every_call_that_writes_leaves_one_audit_row(
    storage: Storage, make_call: Calls, clock: HandClock
) -> None:
    call = make_call(trace_id="0" * 32)
    await do(storage, call)
    with pytest.raises(ZeroDivisionError):
        async with storage.database.transaction(make_call()):
            raise ZeroDivisionError
    async with storage.database.reading() as tx:
        page = await audit.list_page(tx)
        assert (await audit.list_page(tx, caller="nobody")).items == ()
        assert (await audit.list_page(tx, request_id=call.request_id)).items == page.items
    (row,) = page.items
    assert (row.caller, row.tool, row.action, row.outcome) == ("local", "some_tool", "change", "ok")
    assert (row.at, row.request_id, row.trace_id) == (clock.now(), call.request_id, "0" * 32)
    assert row.subject is not None
    assert row.subject.startswith("job:j_")
    assert row.details == {"rows": 3}


async def test_the_audit_log_comes_latest_first_in_pages(storage: Storage, make_call: Calls) -> None:
    for _ in range(3):
        await do(storage, make_call())
    async with storage.database.transaction() as tx:
        await audit.add(tx, make_call(), action="deny", outcome="E_SCOPE")
    async with storage.database.reading() as tx:
        first = await audit.list_page(tx, limit=3)
        rest = await audit.list_page(tx, limit=3, cursor=first.next_cursor)
    assert [row.id for row in first.items + rest.items] == [4, 3, 2, 1]
    assert [row.action for row in first.items] == ["deny", "change", "change"]


async def test_a_replay_and_a_refusal_write_nothing(storage: Storage, make_call: Calls) -> None:
    call = make_call(key="k1")
    await do(storage, call)
    with pytest.raises(Replayed):
        await do(storage, call)
    async with storage.database.reading() as tx:
        assert len((await audit.list_page(tx)).items) == 1
        assert (await tx.execute(select(func.count()).select_from(claims))).scalar() == 1


def test_a_key_in_flight_is_refused_at_once() -> None:
    with in_flight("local", "train_model", "k1"):
        with pytest.raises(InProgress) as refused, in_flight("local", "train_model", "k1"):
            pass
        with in_flight("local", "train_model", "k2"), in_flight("key:ci", "train_model", "k1"):
            pass
    assert refused.value.retry_after == 1.0
    with in_flight("local", "train_model", "k1"):
        pass


async def test_an_answer_that_is_gone_counts_as_holding_anything(storage: Storage, make_call: Calls) -> None:
    """It can't be searched, and an erasure mustn't stop at it."""
    large = {"a": "x" * (idempotency.MAX_INLINE + 1)}
    await do(storage, make_call(key="large"), large)
    await do(storage, make_call(key="small"))
    async with storage.database.transaction() as tx:
        found = await idempotency.holding(tx, lambda content: False)
        assert found == [], "the control: neither holds it"
    (digest,) = await storage.artefacts.listed()
    await storage.artefacts.remove(digest)
    async with storage.database.transaction() as tx:
        assert await idempotency.purge(tx, lambda content: False) == [digest]
    async with storage.database.reading() as tx:
        assert [row.key for row in await tx.execute(select(claims.c.key))] == ["small"]
