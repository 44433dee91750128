"""Reports: made of sections, kept as they were made, read at an address that stays, written as files."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext
from mcp_server.core.reports import writing
from mcp_server.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, Unsupported
from mcp_server.workflows import report_sections
from mcp_server.workflows.app import App
from mcp_server.workflows.report_answers import Reported
from mcp_server.workflows.report_sections import Section

if TYPE_CHECKING:
    from datetime import datetime

    from mcp_server.storage.reports import MadeReport

Form = Literal["markdown", "html", "pdf", "csv"]

SUFFIXES: dict[Form, str] = {"markdown": "md", "html": "html", "pdf": "pdf", "csv": "csv"}
FOLDER = "reports"
TAKE_AWAY = ("erase_subject", "delete_item")
MOST_BYTES = 50_000
"""Of a report's text: what a resource may give at once."""
MOST_PICTURES = 20
MOST_APART = 1_500
RENDERING_SECONDS = 60.0
PAGE = 20


async def create(app: App, call: CallContext, title: str, sections: Sequence[str], forms: Sequence[Form]) -> Reported:
    """Make a report, keep it, and write the files that are asked for.

    Raises:
        InvalidInput: a section can't be read.
        QuotaExceeded: its text would be too long.
        Unsupported: a form needs what isn't installed; nothing was kept.
        CourtsideError: a section can't be made; nothing was kept.
    """
    from mcp_server.storage import audit, removal, reports
    from mcp_server.storage.ids import new_id

    asked = report_sections.parsed(sections)
    if not title.strip() or "\0" in "".join([title, *sections]):
        raise InvalidInput(
            "The title is empty, or it or a section has a NUL character.", hint="Say in a few words what it's about."
        )
    _refuse_missing(forms)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        before = await audit.last(tx)
    made = []
    for place, one in enumerate(asked, start=1):
        made.append(await report_sections.make(app, call, one, place, len(asked)))
    at = app.clock.now()
    id = new_id("d", at)
    pictures = [png for section in made for png, _ in section.pictures][:MOST_PICTURES]
    fields: dict[str, Any] = {
        "id": id,
        "at": at,
        "created_by": call.caller.id,
        "title": title,
        "asked": [one.text for one in asked],
        "markdown": text(id, title, call.caller.id, at, made),
        "facts": [{"kind": one.kind, "about": one.about, "facts": [list(fact) for fact in one.facts]} for one in made],
    }
    files = await _rendered(app, forms, pictures, **{name: fields[name] for name in _RENDERED})
    artefact = await storage.artefacts.put(reports.bundled(pictures)) if pictures else None
    async with storage.database.transaction(call) as tx:
        if await audit.changed_by(tx, TAKE_AWAY, since=before):
            raise Conflict(
                "Something was erased or deleted while the report was made, so it isn't kept.", hint="Repeat the call."
            )
        await removal.hold(tx, [artefact] if artefact else [])
        report = await reports.add(tx, **fields, pictures=artefact)
        answer = _answer(report, made, len(pictures), [_path(id, name) for name in files])
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"report:{id}", sections=[one.kind for one in made], digest=report.digest)
        # Inside, so that an answer that is stored names no file that isn't there.
        await asyncio.to_thread(_publish, app.settings.data_dir / FOLDER / id, files)
    return answer


async def export(app: App, call: CallContext, id: str, forms: Sequence[Form]) -> Reported:
    """Write files of a report that was made before.

    Raises:
        NotFound: there is none of that id.
    """
    from mcp_server.storage import reports

    _refuse_missing(forms)
    report, pictures = await _kept(app, id)
    fields = {name: getattr(report, name) for name in _RENDERED}
    files = await _rendered(app, forms, pictures, **fields)
    storage = await app.storage()
    answer = _answer(report, [], len(pictures), [_path(id, name) for name in files])
    async with storage.database.transaction(call) as tx:
        await reports.get(tx, id)  # it may have been deleted meanwhile
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"report:{id}", forms=list(forms))
        await asyncio.to_thread(_publish, app.settings.data_dir / FOLDER / id, files)
    return answer


async def read(app: App, id: str) -> str:
    """The text of a report. Raises NotFound."""
    return (await _record(app, id)).markdown


async def read_as(app: App, id: str, form: Form) -> bytes:
    """A report as a file.

    Raises:
        NotFound: there is no such report.
        Unsupported: the form needs what isn't installed.
    """
    report, pictures = await _kept(app, id)
    _refuse_missing([form])
    fields = {name: getattr(report, name) for name in _RENDERED}
    return (await _rendered(app, [form], pictures, **fields))[f"report.{SUFFIXES[form]}"]


async def picture(app: App, id: str, number: str) -> bytes:
    """One picture of a report, counted from 1, as a PNG. Raises NotFound."""
    _, pictures = await _kept(app, id)
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
    if not 1 <= at <= len(pictures):
        raise NotFound("The report has no such picture.", hint=f"It has {len(pictures)}.")
    return pictures[at - 1]


async def listed(app: App, cursor: str | None) -> dict[str, Any]:
    """Reports, the newest first; titles are a person's words."""
    from mcp_server.storage import reports

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await reports.list_page(tx, cursor=cursor, limit=PAGE)
    found = [
        {"report": one["id"], "uri": _uri(one["id"]), "at": f"{one['at']:%Y-%m-%dT%H:%M:%SZ}", "by": one["created_by"]}
        for one in page.items
    ]
    titles = {one["id"]: one["title"] for one in page.items}
    return {
        "reports": found,
        **({"cursor": page.next_cursor} if page.next_cursor else {}),
        **({"untrusted": {"titles": titles}} if titles else {}),
    }


def text(id: str, title: str, by: str, at: datetime, sections: Sequence[Section]) -> str:
    """The whole report as Markdown.

    Raises:
        QuotaExceeded: it would be longer than a resource may be.
    """
    told = [
        f"# {writing.escaped(title)}",
        f"Made {at:%Y-%m-%d %H:%M} UTC by {by}: {_uri(id)}. Each figure is as it was then, of the versions named.",
        "\n".join(f"- {one.in_short}" for one in sections if one.kind != "note"),
    ]
    number = 0
    for section in sections:
        told += [f"## {section.title}", *section.parts]
        for _, says in section.pictures:
            number += 1
            if number <= MOST_PICTURES:
                told.append(writing.picture(number, says))
        if section.apart:
            said = json.dumps(section.apart, ensure_ascii=False)
            more = f"\n(cut; {len(said):,} characters in all, whole in the csv)" if len(said) > MOST_APART else ""
            told.append(writing.apart(said[:MOST_APART] + more))
    whole = "\n\n".join(part for part in told if part) + "\n"
    if len(whole.encode("utf-8", "backslashreplace")) > MOST_BYTES:
        raise QuotaExceeded(
            f"The report would be longer than {MOST_BYTES // 1_000} kB.", hint="Make two of it, with fewer sections."
        )
    return whole


async def sweep(app: App) -> None:
    """Remove the files of reports that there aren't any more: after a deletion, and what a killed one left."""
    from mcp_server.storage import reports

    folder = app.settings.data_dir / FOLDER
    written = await asyncio.to_thread(_written, folder)
    if not written:
        return
    storage = await app.storage()
    # A writing one: files are written in such a transaction, so none of them belongs to a report that is on its way.
    async with storage.database.transaction() as tx:
        for id in written - await reports.known(tx, written):
            await asyncio.to_thread(shutil.rmtree, folder / id, ignore_errors=True)


def _written(folder: Path) -> set[str]:
    """The reports of which there are files; what a person put beside them is left alone."""
    from mcp_server.storage.reports import ID

    found = folder.iterdir() if folder.is_dir() else ()
    return {path.name for path in found if ID.fullmatch(path.name) and path.is_dir()}


def _refuse_missing(forms: Sequence[Form]) -> None:
    """Before anything is made: a form that can't be had refuses the whole call."""
    if "pdf" in forms and importlib.util.find_spec("typst") is None:
        raise Unsupported(
            "PDF needs the extra pdf, which isn't installed here.",
            hint="Install courtside[pdf], or export html and print it from a browser.",
        )


_RENDERED = ("id", "at", "title", "markdown", "facts")


async def _record(app: App, id: str) -> MadeReport:
    from mcp_server.storage import reports

    async with (await app.storage()).database.reading() as tx:
        return await reports.get(tx, id)


async def _kept(app: App, id: str) -> tuple[MadeReport, list[bytes]]:
    from mcp_server.storage import reports

    report = await _record(app, id)
    return report, await reports.pictures_of((await app.storage()).artefacts, report)


async def _rendered(
    app: App, forms: Sequence[Form], pictures: Sequence[bytes], *, id: str, at: datetime, **fields: Any
) -> dict[str, bytes]:
    """File name -> content, pictures beside the Markdown."""
    files: dict[str, bytes] = {}
    rendered = [form for form in dict.fromkeys(forms) if form != "markdown"]
    if rendered:
        arguments = {
            "forms": rendered,
            "at": at.isoformat(),
            "foot": f"{_uri(id)}, made {at:%Y-%m-%d %H:%M} UTC by Courtside",
            "pictures": [base64.b64encode(png).decode() for png in pictures],
            **fields,
        }
        done = await (await app.compute()).run("render_report", arguments, timeout=RENDERING_SECONDS)
        for form, content in done["files"].items():
            files[f"report.{SUFFIXES[form]}"] = base64.b64decode(content)
    if "markdown" in forms:
        files["report.md"] = fields["markdown"].encode("utf-8", "backslashreplace")
        files |= {writing.name_of(number): png for number, png in enumerate(pictures, start=1)}
    return files


def _publish(folder: Path, files: dict[str, bytes]) -> None:
    from mcp_server.storage.private_files import make_folder, replace_whole

    if files:
        make_folder(folder)
    for name, content in files.items():
        replace_whole(folder / name, content)


def _answer(report: MadeReport, made: Sequence[Section], pictures: int, files: list[str]) -> Reported:
    uri = _uri(report.id)
    return Reported(
        report=report.id,
        uri=uri,
        sections=[{"title": one.title, "in_short": one.in_short} for one in made],
        drawn=pictures,
        files=files,
        digest=report.digest,
        next=f"Read {uri}; {uri}/html, /pdf and /csv are files of it.",
    )


def _uri(id: str) -> str:
    return f"report://{id}"


def _path(id: str, name: str) -> str:
    return f"{FOLDER}/{id}/{name}"
