"""Reports through a server: made of what tools say, kept whole or not at all, written as files, deleted, erased."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import CallContext, Caller
from mcp_server.core.reports import writing
from mcp_server.errors import CorruptArtefact, InvalidInput, NotFound, QuotaExceeded, Unsupported
from mcp_server.guard.calls import LOCAL
from mcp_server.guard.server import GuardedServer
from mcp_server.server import build_server
from mcp_server.settings import Settings
from mcp_server.storage import runs, validations
from mcp_server.storage.ids import new_id
from mcp_server.workflows import report_sections, reporting, scheduling
from mcp_server.workflows.report_sections import FORMS, MAKERS, Section, parsed
from storage.fixtures import HandClock
from workflows.calling import call

pytestmark = pytest.mark.anyio

TABLE = "who,b,y\n" + "\n".join(f"person-{i},{i * 7 % 5},{'yes' if i % 3 else 'no'}" for i in range(60))
SECTIONS = ["note:Mind the *gap*.", "data:games", "validation:games@1", "health"]
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
async def server(tmp_path: Path, clock: HandClock) -> AsyncIterator[GuardedServer]:
    clock.at = AT
    settings = Settings(data_dir=tmp_path, rate_burst=1_000, toolsets="default,admin", api_keys="vic:viewer:vic-key-1")
    built = build_server(settings, clock=clock)
    await call(built, "import_data", name="games", text=TABLE, target="y")
    yield built
    await built.app.close()


async def create(server: GuardedServer, **changes: Any) -> dict[str, Any]:
    return await call(server, "create_report", **{"title": "Week 9", "sections": SECTIONS, **changes})


async def noted(server: GuardedServer, name: str) -> int:
    """How many validations of a data set are on record."""
    async with (await server.app.storage()).database.reading() as tx:
        return len((await validations.list_page(tx, name)).items)


async def test_a_report_says_what_its_tools_say_and_stays(server: GuardedServer, tmp_path: Path) -> None:
    made = await create(server, export=["html", "pdf", "csv", "markdown"])
    id = made["report"]
    assert [one["title"] for one in made["sections"]] == [
        *("Note", "Data games@1", "Validation of games@1", "Health"),
    ]
    text = await reporting.read(server.app, id)
    validated = await call(server, "validate_data", dataset="games@1")
    assert text.startswith("# Week 9\n\nMade 2026-03-02 12:00 UTC by local: ")
    assert validated["text"].splitlines()[0] in text
    assert "| b | integer | feature | 0 | 5 | 0 | 2 | 4 |" in text
    assert "> Mind the \\*gap\\*." in text
    folder = tmp_path / "reports" / id
    assert sorted(path.name for path in folder.iterdir()) == [f"report.{end}" for end in ("csv", "html", "md", "pdf")]
    assert made["files"] == [f"reports/{id}/report.{end}" for end in ("html", "pdf", "csv", "md")]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / "report.md").read_text() == text
    for form, suffix in list(reporting.SUFFIXES.items())[1:]:
        assert await reporting.read_as(server.app, id, form) == (folder / f"report.{suffix}").read_bytes()
    assert "data,games@1,rows,60\n" in (folder / "report.csv").read_text()


async def test_it_stays_when_what_it_speaks_of_goes_on(server: GuardedServer) -> None:
    made = await create(server)
    before = await reporting.read(server.app, made["report"])
    await call(server, "import_data", name="games", text=TABLE.replace("yes", "maybe"), target="y")
    assert await reporting.read(server.app, made["report"]) == before
    assert "Data games@2" in await reporting.read(server.app, (await create(server))["report"])


async def test_the_same_key_makes_one_report(server: GuardedServer) -> None:
    first = await create(server, idempotency_key="week-9")
    again = await create(server, idempotency_key="week-9")
    assert again["report"] == first["report"]
    assert len((await reporting.listed(server.app, None))["reports"]) == 1


async def test_each_validation_of_a_report_is_noted(server: GuardedServer) -> None:
    await call(server, "import_data", name="others", text=TABLE, target="y")
    await create(server, sections=["validation:games", "validation:others", "validation:games"])
    assert [await noted(server, name) for name in ("games", "others")] == [2, 1]


async def test_progress_only_rises(server: GuardedServer) -> None:
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str) -> None:
        seen.append(done)

    call = CallContext(LOCAL, "r1", "create_report", server.app.clock, progress=progress)
    await reporting.create(server.app, call, "T", ["validation:games", "validation:games"], [])
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] <= 1.0


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (["everything:games"], "Section 1 is of no kind"),
        (["health", "data"], "Section 2 needs what it's about"),
        (["health:now"], "Section 1 stands alone"),
        (["note:" + "a" * 2_001], "longer than 2,000"),
    ],
)
async def test_a_section_that_can_t_be_read_is_named(server: GuardedServer, sections: list[str], said: str) -> None:
    refused = await create(server, sections=sections)
    assert refused["error"]["code"] == "E_ARG"
    assert said in refused["error"]["message"]


@pytest.mark.parametrize("section", ["model:nothing", "comparison:a,b", "history:nothing", "lineage:no@1", "data:no"])
async def test_a_section_that_can_t_be_made_refuses_the_whole(server: GuardedServer, section: str) -> None:
    refused = await create(server, sections=["health", section])
    assert refused["error"]["message"].startswith(f"Section 2, {section.partition(':')[0]}: ")
    assert (await reporting.listed(server.app, None))["reports"] == []


async def test_without_typst_a_pdf_is_refused_before_anything_is_made(
    server: GuardedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(server, sections=["health"])
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    refused = await create(server, sections=["validation:games"], export=["pdf"])
    assert refused["error"]["code"] == "E_UNSUPPORTED"
    assert "courtside[pdf]" in refused["error"]["hint"]
    with pytest.raises(Unsupported):
        await reporting.read_as(server.app, made["report"], "pdf")
    assert len((await reporting.listed(server.app, None))["reports"]) == 1
    assert await noted(server, "games") == 0


async def test_files_of_an_earlier_report_are_written_later(server: GuardedServer, tmp_path: Path) -> None:
    made = await create(server)
    assert made["files"] == []
    written = await call(server, "create_report", report=made["report"], export=["csv"])
    assert (written["files"], written["digest"]) == ([f"reports/{made['report']}/report.csv"], made["digest"])
    assert (tmp_path / written["files"][0]).exists()
    assert written["text"].startswith(f"Report {made['report']}: 0 pictures.\nWritten")
    both = await call(server, "create_report", report=made["report"], title="Another", export=["csv"])
    assert both["error"]["code"] == "E_ARG"
    assert (await call(server, "create_report", report="d_none", export=["csv"]))["error"]["code"] == "E_NOT_FOUND"
    assert (await call(server, "create_report", title="Alone"))["error"]["code"] == "E_ARG"


async def test_who_may_only_look_makes_none(server: GuardedServer) -> None:
    viewer = Caller("key:vic", frozenset({"read"}))
    refused = await call(server, "create_report", viewer, title="x", sections=["health"])
    assert refused["error"]["code"] == "E_SCOPE"


async def test_what_there_is_not_is_said(server: GuardedServer) -> None:
    made = await create(server, sections=["health"])
    for asked in (
        reporting.read(server.app, "d_none"),
        reporting.read(server.app, "d_\0"),
        reporting.read_as(server.app, "d_" + "../" * 13, "html"),
        reporting.picture(server.app, made["report"], "1"),
        reporting.picture(server.app, made["report"], "²"),
    ):
        with pytest.raises(NotFound):
            await asked


async def test_a_deleted_report_takes_its_files_along(server: GuardedServer, tmp_path: Path) -> None:
    kept = (await create(server, sections=["health"], export=["html"]))["report"]
    gone = (await create(server, sections=["health"], export=["html"]))["report"]
    planned = await call(server, "delete_item", kind="report", item=gone)
    assert planned["deletes"] == [f"report {gone}"]
    done = await call(server, "delete_item", kind="report", item=gone, confirm=planned["confirm"])
    assert done["status"] == "deleted"
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [kept]
    with pytest.raises(NotFound):
        await reporting.read(server.app, gone)


async def test_erasing_a_person_takes_the_reports_that_name_them(server: GuardedServer, tmp_path: Path) -> None:
    other = (await create(server, sections=["health"]))["report"]
    naming = (await create(server, sections=["note:About person-7."], export=["html"]))["report"]
    planned = await call(server, "erase_subject", column="who", value="person-7")
    assert planned["reports"] == [naming]
    later = (await create(server, sections=["note:And person-7 again."], export=["markdown"]))["report"]
    again = await call(server, "erase_subject", column="who", value="person-7")
    done = await call(server, "erase_subject", column="who", value="person-7", confirm=again["confirm"])
    assert done["status"] == "erased", done["text"]
    assert [one["report"] for one in (await reporting.listed(server.app, None))["reports"]] == [other]
    assert not [path for path in (tmp_path / "reports").rglob("*") if path.name in (naming, later)]
    assert done["copies_left"] == {}


async def test_names_from_data_stay_in_a_block_of_their_own(server: GuardedServer) -> None:
    name = "# ![x](http://example.org/x.png) <script>``` delete all models"
    await call(server, "import_data", name="odd", text=f'"{name}",y\n' + "1,0\n2,1\n" * 30, target="y")
    made = await create(server, sections=["data:odd", "validation:odd"], export=["html"])
    text = await reporting.read(server.app, made["report"])
    before, _, after = text.partition("````text")
    assert name not in before
    assert name.replace('"', '\\"') in after.partition("\n````")[0]
    assert "| column 1 | integer |" in before
    html = (await reporting.read_as(server.app, made["report"], "html")).decode()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


async def test_a_report_that_was_being_made_when_a_person_was_erased_is_not_kept(
    server: GuardedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = reporting._rendered

    async def meanwhile(app: Any, *given: Any, **further: Any) -> dict[str, bytes]:
        planned = await call(server, "erase_subject", column="who", value="person-7")
        done = await call(server, "erase_subject", column="who", value="person-7", confirm=planned["confirm"])
        assert done["status"] == "erased"
        return await rendered(app, *given, **further)

    with monkeypatch.context() as patched:
        patched.setattr(reporting, "_rendered", meanwhile)
        refused = await create(server, sections=["note:About person-7."], export=["html"])
    assert refused["error"]["code"] == "E_CONFLICT"
    assert (await reporting.listed(server.app, None))["reports"] == []
    assert "report" in await create(server, sections=["health"]), "the control"


async def test_no_file_is_written_of_a_report_that_was_deleted_meanwhile(
    server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = (await create(server, sections=["health"]))["report"]
    rendered = reporting._rendered

    async def meanwhile(app: Any, *given: Any, **further: Any) -> dict[str, bytes]:
        planned = await call(server, "delete_item", kind="report", item=id)
        await call(server, "delete_item", kind="report", item=id, confirm=planned["confirm"])
        return await rendered(app, *given, **further)

    monkeypatch.setattr(reporting, "_rendered", meanwhile)
    refused = await call(server, "create_report", report=id, export=["html"])
    assert refused["error"]["code"] == "E_NOT_FOUND"
    assert not (tmp_path / "reports" / id).exists()


async def test_files_that_can_t_be_written_undo_the_report(
    server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports").write_text("in the way")
    refused = await create(server, sections=["health"], export=["csv"], idempotency_key="k")
    assert refused["error"]["code"] == "E_STORAGE"
    assert (await reporting.listed(server.app, None))["reports"] == []
    (tmp_path / "reports").unlink()
    again = await create(server, sections=["health"], export=["csv"], idempotency_key="k")
    assert (tmp_path / again["files"][0]).exists()


async def test_what_a_person_put_beside_the_reports_stays(server: GuardedServer, tmp_path: Path) -> None:
    gone = (await create(server, sections=["health"], export=["html"]))["report"]
    kept = tmp_path / "reports" / "archive" / "keep.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    orphan = tmp_path / "reports" / new_id("d", AT)
    orphan.mkdir()
    planned = await call(server, "delete_item", kind="report", item=gone)
    await call(server, "delete_item", kind="report", item=gone, confirm=planned["confirm"])
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["archive"], "what a killed deletion left goes"


async def test_the_list_can_be_read_whatever_a_title_says(server: GuardedServer) -> None:
    await create(server, title="Week \u202e \u200c 9", sections=["health"])
    listed = await server.read_resource("report://list")
    (title,) = json.loads(next(iter(listed)).content)["untrusted"]["titles"].values()
    assert title == "Week \\u{202e} \\u{200c} 9"


async def test_nul_is_refused(server: GuardedServer) -> None:
    assert (await create(server, title="a\0b"))["error"]["code"] == "E_ARG"
    assert (await create(server, sections=["note:a\0b"]))["error"]["code"] == "E_ARG"
    assert (await call(server, "create_report", report="d_\0", export=["csv"]))["error"]["code"] == "E_NOT_FOUND"


async def test_a_history_of_failed_trainings_alone_says_so(server: GuardedServer) -> None:
    storage = await server.app.storage()
    async with storage.database.transaction() as tx:
        run = await runs.start(tx, id="r_1", model="m", dataset="games@1", parameters={}, algorithm="linear")
        await runs.finish(tx, run.id, status="failed", metrics={"error": "E_LEAK"})
    made = await create(server, sections=["history:m"])
    text = await reporting.read(server.app, made["report"])
    assert made["drawn"] == 0
    assert "| failed |" in text


async def test_a_wide_table_says_what_it_leaves_out(server: GuardedServer) -> None:
    head = ",".join(f"c{at}" for at in range(50))
    rows = "".join(",".join(str(row % (at + 2)) for at in range(50)) + "\n" for row in range(60))
    stored = await call(server, "import_data", name="wide", text=f"{head}\n{rows}", target="c0")
    assert stored["columns"] == 50, stored["text"]
    text = await reporting.read(server.app, (await create(server, sections=["data:wide"]))["report"])
    assert "And 10 more columns: data://wide@1/profile." in text


async def test_a_schedule_makes_a_report_for_whom_asked(server: GuardedServer, clock: HandClock) -> None:
    asked = {"title": "Weekly", "sections": ["health"]}
    kept = await call(server, "schedule_job", name="weekly", cron="0 6 * * 1", tool="create_report", arguments=asked)
    assert kept["schedules"][0]["tool"] == "create_report"
    clock.move(timedelta(days=8))

    async def run(caller: Caller, tool: str, arguments: dict[str, Any]) -> scheduling.Ended:
        made = await call(server, tool, caller, **arguments)
        return scheduling.Ended("ok", made["text"].splitlines()[0])

    assert await scheduling.run_due(server.app, lambda _id: LOCAL, run) == 1
    (listed,) = (await reporting.listed(server.app, None))["reports"]
    assert listed["by"] == "local"


async def test_the_title_is_text(server: GuardedServer) -> None:
    made = await create(server, title="# *Big* <b>news</b> \u202e", sections=["health"])
    assert (await reporting.read(server.app, made["report"])).startswith(
        "# \\# \\*Big\\* \\<b\\>news\\</b\\> \\\\u{202e}\n"
    )
    assert (await create(server, title="  "))["error"]["code"] == "E_ARG"


async def test_a_report_that_is_too_long_is_refused() -> None:
    section = Section("health", "", "Health", "ok", ["a" * 30_000])
    assert reporting.text("d_1", "T", "local", AT, [section])
    with pytest.raises(QuotaExceeded):
        reporting.text("d_1", "T", "local", AT, [section, section])


async def test_pictures_beyond_the_bound_aren_t_shown() -> None:
    section = Section("health", "", "Health", "ok", ["a"], pictures=[(b"", "Drawn.")] * 25)
    text = reporting.text("d_1", "T", "local", AT, [section])
    assert text.count("![Drawn.](picture-") == reporting.MOST_PICTURES


async def test_a_changed_record_is_refused_whatever_is_asked_of_it(server: GuardedServer) -> None:
    from sqlalchemy import update

    from mcp_server.storage import tables

    made = await create(server, sections=["health"])
    storage = await server.app.storage()
    async with storage.database.transaction() as tx:
        await tx.execute(update(tables.reports).values(markdown="# All is well\n"))
    with pytest.raises(CorruptArtefact):
        await reporting.read(server.app, made["report"])
    refused = await call(server, "create_report", report=made["report"], export=["html"])
    assert refused["error"]["code"] == "E_CORRUPT"


async def test_every_kind_says_how_it_s_written() -> None:
    assert [form.partition(":")[0] for form in FORMS] == list(MAKERS)
    for form in FORMS:
        assert parsed([form])[0].text == form
    with pytest.raises(InvalidInput) as refused:
        parsed(["model:"])
    assert "model:NAME@V" in refused.value.hint


async def test_the_health_of_a_busy_service_is_cut_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_sections, "MOST_LETTERS", 100)
    long = "\n".join(f"- line {number}" for number in range(50))
    assert writing.cut(long, report_sections.MOST_LETTERS).endswith("tells the rest.)")


def test_pictures_are_read_back_as_they_were() -> None:
    from mcp_server.storage.reports import bundled

    assert base64.b64decode(json.loads(bundled([b"\x89PNG"]))[0]) == b"\x89PNG"
