"""Reports: what was said at one time, kept as it was said."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, insert, select

from mcp_server.core.canonical import digest
from mcp_server.core.personal.written import written
from mcp_server.errors import CorruptArtefact, NotFound
from mcp_server.storage import erasure
from mcp_server.storage.pages import contains, page_of, rows_wanted, text_after
from mcp_server.storage.records import Json, Page
from mcp_server.storage.tables import reports

if TYPE_CHECKING:
    from mcp_server.storage.artefacts import Artefacts
    from mcp_server.storage.transaction import Transaction

BATCH = 100
UNTRUSTED = "untrusted."
"""How paths of facts from data begin."""
ID = re.compile(r"d_[0-9a-v]{39}")

_SAID = ("title", "asked", "markdown", "facts", "pictures")


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report as it was made, of the sections that were asked for.

    Args:
        facts: of each section `kind`, `about`, and `facts`: pairs of path and value.
        pictures: digest of the artefact that holds them, or None.
    """

    id: str
    at: datetime
    created_by: str
    title: str
    asked: list[str]
    markdown: str
    facts: list[Json]
    pictures: str | None
    digest: str


def bundled(pictures: Sequence[bytes]) -> bytes:
    """PNG files as one artefact's bytes."""
    return orjson.dumps([base64.b64encode(png).decode() for png in pictures])


async def pictures_of(artefacts: Artefacts, report: MadeReport) -> list[bytes]:
    """The PNG files of a report, in their order."""
    if report.pictures is None:
        return []
    return [base64.b64decode(one) for one in orjson.loads(await artefacts.get(report.pictures))]


async def add(
    tx: Transaction,
    *,
    id: str,
    at: datetime,
    created_by: str,
    title: str,
    asked: list[str],
    markdown: str,
    facts: list[Json],
    pictures: str | None,
) -> MadeReport:
    """Keep a report.

    Args:
        id, at: from `storage.ids.new_id` and the clock; the text names them.
        pictures: digest of the artefact with what `bundled` made, or None.
    """
    said = {"title": title, "asked": asked, "markdown": markdown, "facts": facts}
    values = {"id": id, "at": at, "created_by": created_by, **said, "pictures_artefact": pictures}
    report = _value({**values, "digest": digest({**said, "pictures": pictures})})
    await tx.execute(insert(reports).values(**values, digest=report.digest))
    return report


async def get(tx: Transaction, id: str) -> MadeReport:
    """One report, as it was made.

    Raises:
        NotFound: there is none of that id.
        CorruptArtefact: its record was changed since.
    """
    row = None
    if ID.fullmatch(id):
        row = (await tx.execute(select(reports).where(reports.c.id == id))).mappings().first()
    if row is None:
        raise NotFound("There is no report of that id.", hint="The resource report://list names those that there are.")
    report = _value(row)
    if digest({name: getattr(report, name) for name in _SAID}) != report.digest:
        raise CorruptArtefact("The report isn't what was made: its record was changed.", hint="Make it again.")
    return report


async def list_page(tx: Transaction, *, cursor: str | None = None, limit: int = 20) -> Page[Json]:
    """Id, time, maker and title of reports, the newest first.

    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(reports.c.id, reports.c.at, reports.c.created_by, reports.c.title)
    before = text_after(cursor)
    if before is not None:
        query = query.where(reports.c.id < before)
    rows = (await tx.execute(query.order_by(reports.c.id.desc()).limit(rows_wanted(limit)))).mappings().all()
    page = page_of(rows, limit, lambda row: str(row["id"]))
    return Page(tuple(dict(row) for row in page.items), page.next_cursor)


async def ids(tx: Transaction, prefix: str, *, limit: int = 100) -> list[str]:
    """The newest ids that begin so, for completion."""
    query = select(reports.c.id).where(reports.c.id.like(contains(prefix)[1:], escape="\\"))
    return list((await tx.execute(query.order_by(reports.c.id.desc()).limit(limit))).scalars())


async def known(tx: Transaction, ids: Collection[str]) -> set[str]:
    """Which of some reports there are."""
    found: set[str] = set()
    some = sorted(ids)
    for at in range(0, len(some), BATCH):
        query = select(reports.c.id).where(reports.c.id.in_(some[at : at + BATCH]))
        found.update((await tx.execute(query)).scalars())
    return found


async def holding(tx: Transaction, words: Collection[str]) -> list[str]:
    """The ids of reports that quote one of some values, the oldest first.

    In what a person or a table said, such as titles, notes and names, it's looked for as a word of its own; elsewhere
    only a text that is the value as a whole counts, as our own words and digests hold any short one somewhere.
    """
    values, inside = {written(word) for word in words}, erasure.said(words)
    found: list[str] = []
    after = ""
    while values:
        query = select(reports).where(reports.c.id > after).order_by(reports.c.id).limit(BATCH)
        rows = (await tx.execute(query)).mappings().all()
        found += [row["id"] for row in rows if _quotes(row, values, inside)]
        if len(rows) < BATCH:
            break
        after = rows[-1]["id"]
    return found


def _quotes(row: Any, values: Collection[str], inside: re.Pattern[str]) -> bool:
    if any(inside.search(text.casefold()) for text in (row["title"], *row["asked"])):
        return True
    for path, value in (fact for section in row["facts"] for fact in section["facts"]):
        if path.startswith(UNTRUSTED):
            # A name may be a key there.
            if any(inside.search(str(text).casefold()) for text in (path, value)) or written(str(value)) in values:
                return True
        elif isinstance(value, str) and written(value) in values:
            return True
    return False


async def remove(tx: Transaction, ids: Collection[str]) -> list[str]:
    """Forget reports.

    Returns:
        the artefacts that they referred to, to be noted as loose.
    """
    chosen = reports.c.id.in_(list(ids))
    loose = (await tx.execute(select(reports.c.pictures_artefact).where(chosen))).scalars().all()
    await tx.execute(delete(reports).where(chosen))
    return [one for one in loose if one is not None]


def _value(row: Any) -> MadeReport:
    values = dict(row)
    return MadeReport(pictures=values.pop("pictures_artefact"), **values)
