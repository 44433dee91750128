"""Reports are kept as they were made, listed newest first, and found by what they quote."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from mcp_server.errors import CorruptArtefact, InvalidInput, NotFound
from mcp_server.storage import Storage, reports, tables
from mcp_server.storage.ids import new_id
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio


async def add(storage: Storage, clock: HandClock, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "title": "Week 9",
        "asked": ["health"],
        "markdown": "# Week 9\n",
        "facts": [{"kind": "health", "about": "", "facts": [["status", "ok"]]}],
        "pictures": None,
    }
    id = new_id("d", clock.now())
    async with storage.database.transaction() as tx:
        await reports.add(tx, id=id, at=clock.now(), created_by="local", **{**fields, **changes})
    return id


async def test_a_report_comes_back_as_it_was_made(storage: Storage, clock: HandClock) -> None:
    artefact = await storage.artefacts.put(reports.bundled([b"one", b"two"]))
    id = await add(storage, clock, pictures=artefact)
    async with storage.database.reading() as tx:
        report = await reports.get(tx, id)
    assert (report.title, report.at, report.asked) == ("Week 9", clock.now(), ["health"])
    assert await reports.pictures_of(storage.artefacts, report) == [b"one", b"two"]


@pytest.mark.parametrize(
    "change", [{"markdown": "# Week 9, all well\n"}, {"title": "x"}, {"facts": []}, {"pictures_artefact": "sha256:0"}]
)
async def test_a_report_that_was_changed_is_refused(storage: Storage, clock: HandClock, change: dict[str, Any]) -> None:
    id = await add(storage, clock)
    async with storage.database.transaction() as tx:
        await tx.execute(update(tables.reports).values(**change))
    async with storage.database.reading() as tx:
        with pytest.raises(CorruptArtefact):
            await reports.get(tx, id)


async def test_pages_are_newest_first_and_end(storage: Storage, clock: HandClock) -> None:
    made = [await add(storage, clock, title=f"Week {number}") for number in range(5)]
    seen, cursor = [], None
    async with storage.database.reading() as tx:
        while True:
            page = await reports.list_page(tx, cursor=cursor, limit=2)
            seen += [one["id"] for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == made[::-1]
        assert await reports.ids(tx, made[0]) == [made[0]]
        assert await reports.known(tx, [made[1], "d_other"]) == {made[1]}
        with pytest.raises(InvalidInput):
            await reports.list_page(tx, cursor="nonsense!")


@pytest.mark.parametrize("name", ['Ann "Bo" Li', "O\\Neill", "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "ANN LI"])
async def test_a_name_is_found_however_text_would_write_it(storage: Storage, clock: HandClock, name: str) -> None:
    facts = [["untrusted.names.name 1", name], ["rows", 3]]
    id = await add(storage, clock, facts=[{"kind": "fairness", "about": "y@1", "facts": facts}])
    async with storage.database.reading() as tx:
        assert await reports.holding(tx, {name}) == [id]
        assert await reports.holding(tx, {name.lower()}) == [id]


async def test_our_own_words_and_digests_quote_nobody(storage: Storage, clock: HandClock) -> None:
    facts = [["digest", "sha256:12345678"], ["at", "2026-03-01"], ["rows", 2026], ["sentence", "Note that it holds."]]
    told = {"markdown": "## Note\n\nMade 2026-03-01: 1234", "asked": ["data:games@2026"]}
    await add(storage, clock, **told, facts=[{"kind": "data", "about": "games@1", "facts": facts}])
    numbers = [["untrusted.profile.listed.1.max", 2026]]
    extreme = await add(storage, clock, facts=[{"kind": "data", "about": "games@1", "facts": numbers}])
    async with storage.database.reading() as tx:
        assert await reports.holding(tx, {"1234", "Note", "holds"}) == []
        assert await reports.holding(tx, {"2027"}) == []
        assert extreme in await reports.holding(tx, {"2026"})


async def test_reports_are_found_by_what_they_quote_anywhere(
    storage: Storage, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "BATCH", 2)
    await add(storage, clock)
    named = [
        await add(storage, clock, title="About ann@example.org"),
        await add(storage, clock, asked=["note:ann@example.org"]),
        await add(storage, clock, facts=[{"kind": "note", "about": "", "facts": [["text", "ann@example.org"]]}]),
    ]
    async with storage.database.reading() as tx:
        assert await reports.holding(tx, {"ann@example.org"}) == named
        assert await reports.holding(tx, set()) == []


async def test_what_a_removed_report_referred_to_is_told(storage: Storage, clock: HandClock) -> None:
    artefact = await storage.artefacts.put(reports.bundled([b"one"]))
    id = await add(storage, clock, pictures=artefact)
    async with storage.database.transaction() as tx:
        assert await reports.remove(tx, [id]) == [artefact]
        with pytest.raises(NotFound):
            await reports.get(tx, id)
