"""Tables from elsewhere: a file at a web address, or the rows of a query on a database that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mcp_server.context import CallContext
from mcp_server.errors import (
    ComputeFailed,
    CorruptArtefact,
    DataRejected,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Unsupported,
)
from mcp_server.integrations.url_guard import UrlGuard
from mcp_server.log import register_secret
from mcp_server.settings import MIB, Settings, parse_sql_sources
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import genuine
from mcp_server.workflows.files import Brought, Copied, locate

if TYPE_CHECKING:
    from mcp_server.integrations.query import Bounds, Query, QueryRows
    from mcp_server.storage.records import DatasetVersion
    from mcp_server.workflows.importing import ImportRequest

SQL = "sql:"
MOST_SECONDS = 120.0
MOST_PARAMETERS = 100
Options = Mapping[str, str | list[str]]
# How a file is written is ours to know here; how its values are meant is the caller's to say.
_MEANT = {"missing", "nonfinite", "nul", "duplicate_names", "text_columns"}


def is_remote(path: str) -> bool:
    """Whether a path names something that isn't a file of this machine."""
    return "://" in path or is_query(path)


def is_query(path: str | None) -> bool:
    """Whether a path names a database."""
    return path is not None and path.lower().startswith(SQL)


def url_guard(settings: Settings) -> UrlGuard:
    """Which addresses this server reads.

    Raises:
        Unsupported: it reads none.
    """
    if not settings.url_import:
        raise Unsupported(
            "This server doesn't import from web addresses.", hint="Download the file and import it from a folder."
        )
    return UrlGuard(hosts=settings.url_hosts, plain_hosts=settings.http_hosts)


async def bring(app: App, call: CallContext, request: ImportRequest, raw: Path) -> Brought:
    """Fetch what a remote path names.

    Args:
        raw: where the table goes; it's there whole, or not at all.
    Raises:
        DataRejected, InvalidInput, NotFound, BadConfiguration, Transient, Unsupported: as `fetch` and the databases'
            `read_rows` say.
    """
    assert request.path is not None
    remaining = call.remaining()
    seconds = MOST_SECONDS if remaining is None else min(MOST_SECONDS, remaining)
    if seconds <= 0:
        raise DeadlineExceeded("The call ran out of time; nothing was stored.", hint="Call again.")
    if is_query(request.path):
        return await _from_query(app, request, raw, seconds)
    return await _from_url(app, request, raw, seconds)


# Web ---------------------------------------------------------------------------------------------------------------


async def _from_url(app: App, request: ImportRequest, raw: Path, seconds: float) -> Brought:
    from mcp_server.core.canonical import digest
    from mcp_server.integrations.download import Known, Pace, fetch

    assert request.path is not None
    guard = url_guard(app.settings)
    address = guard.read(request.path)
    if request.query is not None:
        raise InvalidInput("A web address takes no query.", hint="Give query with a path such as sql:NAME.")
    # The same file read in another way is another data set: only the same wishes make a version of before the answer.
    asked = digest(
        {
            "target": request.target,
            "time": request.time,
            "roles": dict(request.roles),
            "derived": request.derived,
            "row_filter": request.row_filter,
            "options": request.options,
            "mode": request.mode,
            "since": request.since,
        }
    )
    # Two addresses that are shown alike may be two files: what is blanked in them counts here.
    same_address = (await app.storage()).keys.pseudonym("address of a source", address.text)
    former = await _former(app, request.name, same_address, asked)
    known = None if former is None else Known(former.source.get("etag"), former.source.get("last_modified"))
    fetched = await fetch(
        request.path,
        raw,
        guard=guard,
        most_bytes=app.settings.max_import_mib * MIB,
        known=known,
        pace=Pace(total=seconds),
    )
    if fetched is None:
        assert former is not None
        return Brought((), former.source, unchanged=former)
    source = {
        "kind": "url",
        "uri": address.public_text,
        "name": fetched.name,
        "digest": f"sha256:{fetched.digest}",
        "bytes": fetched.size,
        "time": app.clock.now().isoformat(timespec="seconds"),
        "etag": fetched.etag,
        "last_modified": fetched.last_modified,
        "asked": asked,
        "address": same_address,
    }
    file = Copied(raw, fetched.name, fetched.digest, fetched.size)
    return Brought([file], {name: value for name, value in source.items() if value})


async def _former(app: App, name: str, address: str, asked: str) -> DatasetVersion | None:
    """The newest version of the data set, where it's from the same address and was read in the same way."""
    from mcp_server.storage import datasets

    storage = await app.storage()
    try:
        async with storage.database.reading() as tx:
            version = genuine(await datasets.get(tx, name))
    except (NotFound, CorruptArtefact):
        return None
    source = version.source
    same = source.get("kind") == "url" and source.get("address") == address and source.get("asked") == asked
    return version if same and (source.get("etag") or source.get("last_modified")) else None


# Databases ---------------------------------------------------------------------------------------------------------


async def _from_query(app: App, request: ImportRequest, raw: Path, seconds: float) -> Brought:
    from mcp_server.integrations.query import Bounds, Query

    assert request.path is not None
    name = request.path[len(SQL) :]
    url = _source(app.settings, name)
    if request.query is None:
        raise InvalidInput("A database needs a query.", hint="Give one SELECT as query.")
    options, parameters = _divided(request.reading)
    query = Query.of(request.query, parameters)
    bounds = Bounds(rows=app.settings.max_rows, size=app.settings.max_import_mib * MIB, seconds=seconds)
    found = await _rows(app, url, query, raw, bounds)
    if not found.rows:
        raise DataRejected(
            "E_NO_ROWS", "The query gave no rows.", hint="Check its WHERE and its parameters, which are texts."
        )
    source = {
        "kind": "sql",
        "uri": f"{SQL}{name}",
        "query": query.statement,
        "parameters": parameters,
        "digest": f"sha256:{found.digest}",
        "bytes": found.size,
        "time": app.clock.now().isoformat(timespec="seconds"),
    }
    stay_text = sorted({*options.get("text_columns", ()), *found.text_columns})
    return Brought(
        [Copied(raw, "rows.csv", found.digest, found.size)],
        source,
        {**options, "delimiter": ",", "encoding": "utf-8", "text_columns": stay_text},
        tuple(_empty_texts(found.empty_texts)),
    )


def _source(settings: Settings, name: str) -> str:
    """The URL of a source; what is secret in it is kept out of the log from now on."""
    sources = {} if settings.sql_sources is None else parse_sql_sources(settings.sql_sources)
    if name not in sources:
        listed = f"Sources: {', '.join(sorted(sources))}." if sources else "There is none yet."
        raise NotFound(
            "There is no SQL source of that name.", hint=f"{listed} COURTSIDE_SQL_SOURCES names them as name=url."
        )
    password = urlsplit(sources[name]).password
    if password:
        register_secret(password)
        register_secret(unquote(password))
    return sources[name]


def _divided(given: Options) -> tuple[dict[str, str | list[str]], list[str]]:
    """The options that a query's rows take, and the parameters of the query."""
    options = dict(given)
    parameters = options.pop("parameters", [])
    if isinstance(parameters, str) or len(parameters) > MOST_PARAMETERS:
        raise InvalidInput(
            f"options.parameters is a list of at most {MOST_PARAMETERS} texts.",
            hint='Numbers are written as text too: {"parameters": ["1985"]}.',
        )
    if wrong := sorted(options.keys() - _MEANT)[:10]:
        raise InvalidInput(
            f"A query doesn't take {'an option' if len(wrong) == 1 else 'options'} of text files.",
            hint=f"It takes parameters, {', '.join(sorted(_MEANT))}.",
        )
    return options, parameters


async def _rows(app: App, url: str, query: Query, raw: Path, bounds: Bounds) -> QueryRows:
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        root, parts = locate(url.removeprefix("sqlite:///"), app.settings.allowed_dirs)
        return await _from_file(app, root.joinpath(*parts), query, raw, bounds)
    if scheme in ("mysql", "mariadb"):
        from mcp_server.integrations import mariadb

        return await mariadb.read_rows(url, query, raw, bounds)
    from mcp_server.integrations import postgresql

    return await postgresql.read_rows(url, query, raw, bounds)


async def _from_file(app: App, path: Path, query: Query, raw: Path, bounds: Bounds) -> QueryRows:
    """The rows of a database that is a file: read in a process of its own, as every file that isn't trusted."""
    from mcp_server.integrations.query import QueryRows, too_slow

    reads = [path.with_name(path.name + more) for more in ("", "-wal", "-shm")]
    arguments = {
        "path": str(path),
        "statement": query.statement,
        "parameters": query.parameters,
        "out": str(raw),
        **asdict(bounds),
    }
    try:
        found = await (await app.compute()).run(
            "query_sqlite",
            arguments,
            timeout=bounds.seconds,
            fresh=True,
            reads=[file for file in reads if file.exists() and not file.is_symlink()],
        )
    except DeadlineExceeded:
        raise too_slow() from None
    except ComputeFailed as failed:
        reason = failed.details.get("reason")
        if reason == "cpu":
            raise too_slow() from None
        if reason == "memory":
            raise DataRejected(
                "E_SIZE",
                "The query needs more memory than a reading process may use.",
                hint="Name fewer columns, sort and group less, or raise COURTSIDE_CHILD_MEMORY_MIB.",
            ) from None
        if reason == "crashed":
            raise DataRejected(
                "E_DAMAGED",
                "The process that read the database crashed on it; nothing was stored.",
                hint="Check the file with PRAGMA integrity_check.",
                details={"reference": failed.details["reference"]},
            ) from None
        raise
    return QueryRows(**found | {"text_columns": tuple(found["text_columns"])})


def _empty_texts(count: int) -> list[dict[str, Any]]:
    if not count:
        return []
    told = f"{count} empty {'text is a missing value' if count == 1 else 'texts are missing values'} here."
    return [{"about": "empty_texts", "message": told, "count": count}]
