"""Queries on database files: what a file and a statement make of each other is kept to the computing child."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcp_server.storage import sqlite_library

Report = Callable[[float, str], None]


def query_sqlite(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write what a query on an SQLite file gives as CSV.

    Args:
        arguments: path, statement, parameters, out, rows and size: the most of each, and seconds.
    Returns:
        the fields of `QueryRows`.
    Raises:
        CourtsideError: as `read_rows` says; nothing is written then.
    """
    # Before anything imports sqlite3: the current library, also for what an untrusted file makes of it.
    sqlite_library.install()
    from mcp_server.integrations import sqlite
    from mcp_server.integrations.query import Bounds, Query

    report(0.0, "Querying")
    query = Query(arguments["statement"], tuple(arguments["parameters"]))
    bounds = Bounds(arguments["rows"], arguments["size"], arguments["seconds"])
    return asdict(sqlite.read_rows(Path(arguments["path"]), query, Path(arguments["out"]), bounds))
