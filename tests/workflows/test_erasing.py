"""An erasure holds against what runs beside it, and reaches what was made of a person's rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import SystemClock
from mcp_server.errors import Conflict
from mcp_server.settings import Settings
from mcp_server.storage import datasets
from mcp_server.workflows import reaching
from mcp_server.workflows.app import App
from mcp_server.workflows.deleting import delete
from mcp_server.workflows.describing import find
from mcp_server.workflows.erasing import Subject, erase
from mcp_server.workflows.importing import ImportRequest, import_data
from mcp_server.workflows.preparing import PreparingRequest, prepare

pytestmark = pytest.mark.anyio

ANN = "ann.canary@example.org"
ROWS = [f"{ANN if i == 7 else f'user{i}@example.org'},{i},{'ab'[i % 2]},{i * 7 % 3 % 2}" for i in range(200)]
TABLE = "mail,x,team,y\n" + "\n".join(ROWS) + "\n"
Meanwhile = Callable[[], Awaitable[object]]


@pytest.fixture
async def app(tmp_path: Path):
    app = App(Settings(data_dir=tmp_path / "data"), SystemClock())
    yield app
    await app.close()


async def imported(app: App, call: Any, name: str = "people", **said: Any):
    request = ImportRequest(**{"name": name, "path": None, "text": TABLE, **said})
    return await import_data(app, call(), request)


async def prepared(app: App, call: Any, *steps: dict[str, Any], of: str = "people@1", name: str = "made"):
    return await prepare(app, call(), PreparingRequest(of, list(steps), name, 0, False))


async def erased(app: App, call: Any, value: str | int = ANN, column: str = "mail", dataset: str | None = None):
    subject = Subject(column, value, dataset)
    plan = await erase(app, call(), subject, confirm=None, export=None)
    return await erase(app, call(), subject, confirm=plan.confirm, export=None)


async def deleted(app: App, call: Any, reference: str):
    plan = await delete(app, call(), "dataset", reference, cascade=True, confirm=None)
    return await delete(app, call(), "dataset", reference, cascade=True, confirm=plan.confirm)


def after_the_table_is_stored(storage: Any, meanwhile: Meanwhile, patch: pytest.MonkeyPatch) -> None:
    """Do something once, between the computing of a table and the transaction that records it."""
    put = storage.artefacts.put_file

    async def then(path: Path) -> str:
        patch.undo()
        digest = await put(path)
        await meanwhile()
        return digest

    patch.setattr(storage.artefacts, "put_file", then)


async def versions(app: App) -> list[str]:
    async with (await app.storage()).database.reading() as tx:
        return [f"{one.name}@{one.version}" for one in await datasets.every(tx)]


@pytest.mark.parametrize("gone", [erased, lambda app, call: deleted(app, call, "people@1")], ids=["erased", "deleted"])
async def test_rows_arent_added_to_a_version_that_changed_meanwhile(app, make_call, monkeypatch, gone):
    await imported(app, make_call)
    after_the_table_is_stored(await app.storage(), lambda: gone(app, make_call), monkeypatch)
    with pytest.raises(Conflict, match="people@1 changed meanwhile"):
        await imported(app, make_call, text="mail,x,team,y\nnew@example.org,99,a,1\n", mode="append")
    assert "people@2" not in await versions(app)


@pytest.mark.parametrize("read", ["people@1", "others@1"])
@pytest.mark.parametrize("gone", [erased, deleted], ids=["erased", "deleted"])
async def test_nothing_is_made_of_a_version_that_changed_meanwhile(app, make_call, monkeypatch, gone, read):
    """Neither of the one that was prepared, nor of one that was joined."""
    await imported(app, make_call)
    await imported(app, make_call, name="others")
    change = (lambda: erased(app, make_call)) if gone is erased else (lambda: deleted(app, make_call, read))
    after_the_table_is_stored(await app.storage(), change, monkeypatch)
    join = {"do": "join", "with": "others@1", "on": ["mail"], "prefix": "o_"}
    with pytest.raises(Conflict, match="changed meanwhile"):
        await prepared(app, make_call, join)
    assert not [one for one in await versions(app) if one.startswith("made")]


async def test_what_was_fitted_on_the_rows_goes_where_the_column_was_dropped_too(app, make_call):
    await imported(app, make_call, target="y", roles={"mail": "ignored"})
    by_target = {"do": "embed", "column": "team", "by": "target"}
    await prepared(app, make_call, by_target, {"do": "drop_columns", "columns": ["mail"]})
    await prepared(app, make_call, {"do": "filter", "where": "x > 1"}, of="made@1", name="later")
    fitted = (await find(app, "made@1")).source["fitted"]
    artefacts = (await app.storage()).artefacts
    assert await artefacts.exists(fitted), "the control: something was fitted"
    done = await erased(app, make_call)
    assert not await artefacts.exists(fitted)
    assert "fitted" not in (await find(app, "made@1")).source
    assert done.cleaned == ["made@1"]
    assert done.not_reached == ["made@1, made from people@1", "later@1, made from made@1"]
    assert "Not reached: made@1, made from people@1 without the column." in done.lines()


async def test_the_value_goes_from_versions_whose_filter_left_the_person_out(app, make_call):
    await imported(app, make_call, name="kept", row_filter=f'mail != "{ANN}"')
    await imported(app, make_call)
    steps = [{"do": "filter", "where": f"mail != '{ANN}'"}, {"do": "drop_columns", "columns": ["team"]}]
    await prepared(app, make_call, *steps)
    before = {name: await find(app, name) for name in ("kept@1", "made@1")}
    assert all(ANN in str(one) for one in before.values())
    done = await erased(app, make_call)
    assert (done.cleaned, done.copies_left) == (["kept@1", "made@1"], {})
    for name, old in before.items():
        new = await find(app, name)  # which compares the digest with the content
        assert ANN not in str(new)
        assert (new.rows, new.artefact) == (old.rows, old.artefact)
        assert "[erased]" in str(new.contract)
        assert new.source["erased"][0]["digest_before"] == old.digest
    again = await erase(app, make_call(), Subject("mail", ANN, None), confirm=None, export=None)
    assert again.status == "nothing found"


async def test_the_value_goes_from_parameters_addresses_and_plans_but_no_column_is_renamed(app, make_call):
    await imported(app, make_call)
    old = await find(app, "people@1")
    source = {
        "kind": "team",
        "parameters": [ANN.upper(), "team"],
        "uri": "https://example.org/a?mail=ann.canary%40example.org&x=1",
        "plan": [{"do": "restate", "columns": ["team"], "values": {ANN: "nobody"}}],
    }
    cleaned = reaching.cleaned(replace(old, source=source), "mail", [ANN, "team"], {}, unfitted=False)
    assert cleaned.source == {
        "kind": "team",
        "parameters": ["[erased]", "team"],
        "uri": "https://example.org/a?mail=[erased]&x=1",
        "plan": [{"do": "restate", "columns": ["team"], "values": {"[erased]": "nobody"}}],
    }
    assert cleaned.digest == old.digest, "where it comes from isn't part of it"


@pytest.mark.parametrize("form", ["json", "csv"])
async def test_an_export_goes_with_an_erasure_by_another_column(app, make_call, form):
    await imported(app, make_call)
    for mail in (ANN, "user9@example.org"):
        await erase(app, make_call(), Subject("mail", mail, None), confirm=None, export=form)
    folder = app.settings.data_dir / "exports"
    assert len(list(folder.rglob("rows.*"))) == 2
    done = await erased(app, make_call, 7, "x")
    (left,) = folder.rglob("rows.*")
    assert "user9@example.org" in left.read_text()
    assert done.exports == 1


async def test_a_version_stored_while_an_erasure_was_computed_stops_it(app, make_call, monkeypatch):
    """It may hold rows of the person, which nobody looked for."""
    await imported(app, make_call)
    subject = Subject("mail", ANN, None)
    plan = await erase(app, make_call(), subject, confirm=None, export=None)
    step = {"do": "filter", "where": "x > 1"}
    after_the_table_is_stored(await app.storage(), lambda: prepared(app, make_call, step), monkeypatch)
    with pytest.raises(Conflict, match="stored meanwhile"):
        await erase(app, make_call(), subject, confirm=plan.confirm, export=None)
    assert len(list((await find(app, "people@1")).source.get("erased", []))) == 0
    done = await erased(app, make_call)
    assert [one["dataset"] for one in done.datasets] == ["people@1", "made@1"]


async def test_rows_in_other_data_sets_are_named_when_one_data_set_is_meant(app, make_call):
    await imported(app, make_call)
    await imported(app, make_call, name="apart")
    await prepared(app, make_call, {"do": "filter", "where": "x < 100"}, name="made")
    one_of_them = Subject("mail", ANN, "people")
    plan = await erase(app, make_call(), one_of_them, confirm=None, export=None)
    said = "\n".join(plan.lines())
    assert "Rows of theirs stay outside this data set: apart@1 (1 row), made@1 (1 row)." in said
    assert "Without rows of theirs" not in said
    await erase(app, make_call(), one_of_them, confirm=plan.confirm, export=None)
    again = await erase(app, make_call(), one_of_them, confirm=None, export=None)
    assert again.status == "nothing found"
    assert "apart@1 (1 row)" in "\n".join(again.lines())
    every = await erase(app, make_call(), Subject("mail", ANN, None), confirm=None, export=None)
    assert [one["dataset"] for one in every.datasets] == ["apart@1", "made@1"]
    assert every.outside == []
