"""The audit log as a chain: whatever is done to it behind our back, shows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.storage import Storage, audit
from mcp_server.storage.audit import ChainReport
from mcp_server.storage.audit_chain import EMPTY, START, Head, Witness, link, sign
from mcp_server.storage.keys import Keys
from mcp_server.storage.tables import audit as rows
from mcp_server.storage.tables import audit_head
from mcp_server.storage.transaction import Transaction
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

Calls = Callable[..., CallContext]
ROWS = 7


@pytest.fixture
async def filled(storage: Storage, make_call: Calls, clock: HandClock) -> Storage:
    for number in range(ROWS):
        clock.move(timedelta(seconds=1.000001))
        async with storage.database.transaction(make_call()) as tx:
            tx.about(f"model:games@{number}", share=0.1, big=1e16, name="é\u202e", nothing=None)
    return storage


async def check(storage: Storage, *, witnessed: bool = True, seen: tuple[Head, ...] = ()) -> ChainReport:
    kept = storage.witness.read() if witnessed else None
    async with storage.database.reading() as tx:
        return await audit.check_chain(tx, seen=[*seen, *([kept] if kept else [])])


async def behind(storage: Storage, work: Callable[[Transaction], Any]) -> None:
    async with storage.database.transaction() as tx:
        await work(tx)


async def stored(tx: Transaction) -> list[dict[str, Any]]:
    return [dict(row) for row in (await tx.execute(select(rows).order_by(rows.c.place))).mappings()]


async def rewritten(tx: Transaction, kept: list[dict[str, Any]], keys: Keys | None) -> None:
    """What someone does who knows the chain: every digest made anew; the head signed where there are keys."""
    await tx.execute(delete(rows))
    chain = START
    for place, row in enumerate(kept, start=1):
        chain = link(chain, {**row, "place": place})
        await tx.execute(insert(rows).values({**row, "place": place, "chain": chain}))
    head = Head(len(kept), chain)
    changed: dict[str, Any] = {"place": head.place, "chain": head.chain}
    if keys is not None:
        changed["signature"] = sign(keys, head)
    await tx.execute(update(audit_head).values(changed))


async def test_an_empty_log_and_an_untouched_one_have_no_problem(storage: Storage, filled: Storage) -> None:
    report = await check(filled)
    assert report.problems == ()
    assert report.head.place == ROWS
    assert filled.witness.read() == report.head


async def test_a_log_without_a_row_is_sound(storage: Storage) -> None:
    assert await check(storage) == ChainReport(EMPTY, ())


CHANGES = [
    {"caller": "someone"},
    {"tool": "predict"},
    {"outcome": "E_SCOPE"},
    {"action": "deny"},
    {"subject": "model:other@1"},
    {"subject": None},
    {"details": {"share": 0.10000000000000002}},
    {"request_id": "r2"},
    {"arguments_digest": "sha256:0"},
    {"trace_id": "1" * 32},
]


@pytest.mark.parametrize("changed", CHANGES, ids=lambda changed: next(iter(changed)))
async def test_a_changed_row_shows(filled: Storage, changed: dict[str, Any]) -> None:
    await behind(filled, lambda tx: tx.execute(update(rows).where(rows.c.place == 3).values(changed)))
    assert (await check(filled)).problems == ("Row 3 isn't what was written, or what stood before it isn't.",)


async def test_a_changed_moment_shows(filled: Storage, clock: HandClock) -> None:
    later = clock.now() + timedelta(microseconds=1)
    await behind(filled, lambda tx: tx.execute(update(rows).where(rows.c.place == 3).values(at=later)))
    assert "Row 3" in (await check(filled)).problems[0]


async def test_a_removed_row_shows(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(delete(rows).where(rows.c.place == 3)))
    assert (await check(filled)).problems == ("The rows between 2 and 4 are missing.",)


async def test_a_removed_first_row_shows(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(delete(rows).where(rows.c.place == 1)))
    assert (await check(filled)).problems == ("The rows between 0 and 2 are missing.",)


async def test_an_inserted_row_shows(filled: Storage) -> None:
    async def work(tx: Transaction) -> None:
        kept = await stored(tx)
        made = {**kept[2], "place": ROWS + 1, "subject": "model:mine@1"}
        del made["id"]
        await tx.execute(insert(rows).values(made))

    await behind(filled, work)
    assert f"Row {ROWS + 1}" in (await check(filled)).problems[0]


async def test_two_rows_that_changed_places_show(filled: Storage) -> None:
    async def work(tx: Transaction) -> None:
        for old, new in ((3, 100), (4, 3), (100, 4)):
            await tx.execute(update(rows).where(rows.c.place == old).values(place=new))

    await behind(filled, work)
    problems = (await check(filled)).problems
    assert any("Row 3" in problem for problem in problems)
    assert "Row 4 was moved." in problems


async def test_numbers_that_change_the_order_of_the_pages_show(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(update(rows).where(rows.c.place == 3).values(id=1_000)))
    assert "Row 4 was moved." in (await check(filled)).problems


async def test_a_cut_off_end_shows(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(delete(rows).where(rows.c.place > 4)))
    problems = (await check(filled, witnessed=False)).problems
    assert problems == (f"The log ends at row 4; its signed head is of row {ROWS}.",)


async def test_an_emptied_log_shows(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(delete(rows)))
    assert (await check(filled, witnessed=False)).problems != ()
    await behind(filled, lambda tx: tx.execute(delete(audit_head)))
    assert (await check(filled)).problems == (f"The log ends at row 0; it was seen to reach row {ROWS}.",)


async def test_a_chain_made_anew_shows_by_its_signature(filled: Storage) -> None:
    async def work(tx: Transaction) -> None:
        kept = await stored(tx)
        await rewritten(tx, [{**row, "caller": "someone"} for row in kept], None)

    await behind(filled, work)
    assert (await check(filled, witnessed=False)).problems == (
        "The signature of the log's head isn't this installation's.",
    )


async def test_a_chain_signed_with_other_keys_shows(filled: Storage, tmp_path: Path) -> None:
    other = Keys.open(tmp_path / "other")
    await behind(filled, lambda tx: _rewrite_all(tx, other))
    assert (await check(filled, witnessed=False)).problems == (
        "The signature of the log's head isn't this installation's.",
    )


async def _rewrite_all(tx: Transaction, keys: Keys) -> None:
    await rewritten(tx, await stored(tx), keys)


async def test_a_removed_signature_shows(filled: Storage) -> None:
    await behind(filled, lambda tx: tx.execute(delete(audit_head)))
    assert (await check(filled, witnessed=False)).problems == ("The head of the log has no signature.",)


async def test_an_old_state_put_back_whole_shows_by_the_witness_alone(filled: Storage, make_call: Calls) -> None:
    """The control: without a head that was seen elsewhere, an old log with its old signature is a sound log."""
    async with filled.database.reading() as tx:
        old = (await tx.execute(select(audit_head))).mappings().one()
    for _ in range(2):
        async with filled.database.transaction(make_call()):
            pass

    async def work(tx: Transaction) -> None:
        await tx.execute(delete(rows).where(rows.c.place > ROWS))
        await tx.execute(update(audit_head).values(**old))

    await behind(filled, work)
    assert (await check(filled, witnessed=False)).problems == ()
    assert (await check(filled)).problems == (f"The log ends at row {ROWS}; it was seen to reach row {ROWS + 2}.",)
    # Writing on doesn't cover it up.
    for _ in range(4):
        async with filled.database.transaction(make_call()):
            pass
    assert (await check(filled)).problems != ()


FORGERIES = ["a changed row and the chain anew", "an end cut off", "no head", "another's head", "an emptied log"]


@pytest.mark.parametrize("what", FORGERIES)
async def test_what_was_forged_is_not_signed_along_with_what_comes_after(
    filled: Storage, make_call: Calls, tmp_path: Path, what: str
) -> None:
    async def work(tx: Transaction) -> None:
        kept = await stored(tx)
        if what == "a changed row and the chain anew":
            head = (await tx.execute(select(audit_head))).mappings().one()
            await rewritten(tx, [{**row, "caller": "someone"} for row in kept], None)
            await tx.execute(update(audit_head).values(**head))
        elif what == "an end cut off":
            await rewritten(tx, kept[:3], None)
        elif what == "no head":
            await rewritten(tx, kept[:3], None)
            await tx.execute(delete(audit_head))
        elif what == "another's head":
            await rewritten(tx, kept[:3], Keys.open(tmp_path / "other"))
        else:
            await tx.execute(delete(rows))
            await tx.execute(delete(audit_head))

    await behind(filled, work)
    for calls in (1, ROWS + 3):
        for _ in range(calls):
            async with filled.database.transaction(make_call()):
                pass
        assert (await check(filled)).problems != ()


async def test_a_head_noted_elsewhere_is_found_in_the_log_that_has_grown(filled: Storage, make_call: Calls) -> None:
    noted = (await check(filled)).head
    async with filled.database.transaction(make_call()):
        pass
    assert (await check(filled, seen=(noted, Head.parse(str(noted))))).problems == ()


async def test_an_undone_change_leaves_neither_a_row_nor_a_head(filled: Storage, make_call: Calls) -> None:
    with suppress(ZeroDivisionError):
        async with filled.database.transaction(make_call()) as tx:
            await audit.add(tx, make_call(), action="deny", outcome="E_SCOPE")
            raise ZeroDivisionError
    report = await check(filled)
    assert report == ChainReport(replace(report.head, place=ROWS), ())


async def test_a_witness_never_goes_back_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "audit.head")
    assert witness.read() is None
    late, early = Head(5, "sha256:" + "a" * 64), Head(4, "sha256:" + "b" * 64)
    witness.note(late)
    witness.note(early)
    assert witness.read() == late
    (tmp_path / "audit.head").write_text("{}")
    with pytest.raises(InvalidInput, match="witness"):
        witness.read()
    witness.note(late)
    assert (tmp_path / "audit.head").read_text() == "{}"


@pytest.mark.parametrize("text", ["", "5", "x:sha256:" + "0" * 64, "5:sha256:0", "-1:sha256:" + "0" * 64, "٣:" + START])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="head"):
        Head.parse(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["caller", "tool", "action", "outcome", "request_id"]), st.text(max_size=8), st.text(max_size=8))
def test_no_two_rows_have_one_digest(clock: HandClock, column: str, one: str, other: str) -> None:
    row = {
        "at": clock.now(),
        "request_id": "r",
        "caller": "local",
        "tool": "t",
        "action": "change",
        "outcome": "ok",
        "subject": None,
        "arguments_digest": "",
        "trace_id": None,
        "details": {},
        "place": 1,
    }
    try:
        equal = link(START, row | {column: one}) == link(START, row | {column: other})
    except InvalidInput:  # half of a surrogate pair, which no database takes either
        return
    assert equal == (one == other)
