"""An erasure holds against what runs beside it, and reaches what was made of a person's rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import SystemClock
from mcp_server.errors import Conflict
from mcp_server.settings import Settings
from mcp_server.storage import datasets
from mcp_server.workflows.app import App
from mcp_server.workflows.deleting import delete
from mcp_server.workflows.erasing import Subject, erase
from mcp_server.workflows.importing import ImportRequest, import_data
from mcp_server.workflows.preparing import PreparingRequest, prepare

pytestmark = pytest.mark.anyio

ANN = "ann.canary@example.org"
ROWS = [f"{ANN if i == 7 else f'user{i}@example.org'},{i},{'ab'[i % 2]},{i % 2}" for i in range(60)]
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
