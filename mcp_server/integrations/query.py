"""What every database gives and refuses alike: a query, its bounds, and its rows as a file that is read strictly."""

from __future__ import annotations

import asyncio
import csv
import errno
import hashlib
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import UUID

from mcp_server.errors import BadConfiguration, CourtsideError, DataRejected, DiskFull, InvalidInput, Transient

T = TypeVar("T")

CONNECT_SECONDS = 5.0
MOST_BATCH, BATCH_BYTES = 5_000, 4 * 1024 * 1024
MOST_CELL = 1024 * 1024
MOST_ROW = 10 * 1024 * 1024
"""Bytes; the strict reader takes no longer line."""
MOST_AT_ONCE = 64 * 1024 * 1024
"""Bytes that a database may send for one batch of rows, which nobody sees before it's whole."""
MOST_THREADS = 4
# How long a thread that was told to stop is waited for.
GRACE_SECONDS = 5.0
_free = threading.BoundedSemaphore(MOST_THREADS)
_AS_IT_IS = {int, float, str, type(None)}
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?\Z")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement that reads.

    Args:
        statement: without a semicolon at its end.
        parameters: bound to the statement's placeholders, in order; the database makes numbers of them where it
            wants numbers.
    """

    statement: str
    parameters: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, parameters: Sequence[str] = ()) -> Query:
        """Tidy what a caller wrote. Raises InvalidInput where it's empty, or holds what no database takes."""
        statement = text.strip().rstrip(";").rstrip()
        if not statement:
            raise InvalidInput("The query is empty.", hint="Give one SELECT as query.")
        whole = "".join((statement, *parameters))
        if "\0" in whole or any("\ud800" <= letter <= "\udfff" for letter in whole):
            raise InvalidInput(
                "The query or a parameter holds a NUL character or half of a surrogate pair.",
                hint="Send text that is valid Unicode, without NUL.",
            )
        return cls(statement, tuple(parameters))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a query may give, and how long it may take."""

    rows: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class QueryRows:
    """What a query gave.

    Args:
        digest: SHA-256 of the file, hex.
        text_columns: names of columns that are text in the database, whatever their values look like.
        empty_texts: empty texts; the file has them as missing values, for it can't tell the two apart.
    """

    digest: str
    size: int
    rows: int
    text_columns: tuple[str, ...]
    empty_texts: int


class RowsFile:
    """Rows as CSV in UTF-8 which the strict reader reads back to the same numbers, texts and dates.

    Args:
        names: of the columns.
        dated: positions of columns whose texts are dates, where all of them look like it.
    """

    def __init__(self, file: BinaryIO, names: Sequence[str], bounds: Bounds, *, dated: Collection[int] = ()) -> None:
        self._file = file
        self._names = tuple(name.strip() for name in names)
        self._bounds = bounds
        self._undated: set[int] = {at for at in range(len(names)) if at not in dated}
        self._texts: set[int] = set()
        self._empty_texts = self._rows = self._size = 0
        self._digest = hashlib.sha256()
        # Nobody knows yet how wide a row is.
        self.batch = 1
        self._widest = 1
        self._write([self._names])

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write some rows.

        Raises:
            DataRejected: `E_ROWS`, `E_CELL`, `E_SIZE`, `E_ENCODING`.
            InvalidInput: a column holds what a table can't.
            DiskFull: the disk is full.
        """
        self._rows += len(rows)
        if self._rows > self._bounds.rows:
            raise DataRejected(
                "E_ROWS",
                f"The query gives more than {self._bounds.rows:,} rows.",
                hint="Narrow it with WHERE or LIMIT, or raise COURTSIDE_MAX_ROWS.",
                details={"limit": self._bounds.rows},
            )
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for at, column in enumerate(columns):
            kinds = set(map(type, column))
            if not kinds <= _AS_IT_IS:
                column = columns[at] = [self._plain(at, value) for value in column]
            if str in kinds:
                self._note_texts(at, column)
        before = self._size
        self._write(zip(*columns, strict=True))
        # Small enough for wide rows, large enough for narrow ones.
        self._widest = max(self._widest, (self._size - before) // max(1, len(rows)))
        self.batch = max(1, min(MOST_BATCH, 2 * self.batch, BATCH_BYTES // self._widest))

    def result(self) -> QueryRows:
        names = tuple(name for at, name in enumerate(self._names) if at in self._texts)
        return QueryRows(self._digest.hexdigest(), self._size, self._rows, names, self._empty_texts)

    def _note_texts(self, at: int, column: Sequence[Any]) -> None:
        texts = [value for value in column if type(value) is str]
        if max(map(len, texts)) > MOST_CELL:
            raise too_wide()
        self._empty_texts += texts.count("")
        if at not in self._undated and not all(map(_ISO.match, texts)):
            self._undated.add(at)
        if at in self._undated:
            self._texts.add(at)

    def _plain(self, at: int, value: Any) -> Any:
        if value is None or type(value) in _AS_IT_IS:
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, Decimal):
            return format(value, "f")
        if isinstance(value, datetime):
            return value.isoformat(sep=" ")
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, UUID | time):
            self._texts.add(at)
            return str(value)
        raise InvalidInput(
            f"Column {at + 1} of the query holds values that a table can't hold.",
            hint="Leave the column out, or cast it to text or a number in the query.",
            details={"column": at + 1},
        )

    def _write(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        # With both characters in the line's end, either of them in a text makes it quoted.
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        try:
            block = text.getvalue().encode()
        except UnicodeEncodeError:
            raise DataRejected(
                "E_ENCODING", "A text of the query isn't valid Unicode.", hint="Leave its column out."
            ) from None
        self._size += len(block)
        if self._size > self._bounds.size:
            raise DataRejected(
                "E_SIZE",
                f"The query gives more than the {self._bounds.size:,} bytes that are allowed.",
                hint="Name fewer columns, narrow it with WHERE, or raise COURTSIDE_MAX_IMPORT_MIB.",
            )
        self._digest.update(block)
        try:
            self._file.write(block)
        except OSError as failed:
            if failed.errno == errno.ENOSPC:
                raise DiskFull(
                    "The disk is full; nothing was stored.", hint="Free some space, then import again."
                ) from None
            raise DataRejected("E_IO", "The rows could not be written.", hint="Check the disk.") from None


def in_batches(rows: Iterable[Sequence[Any]], file: RowsFile) -> Iterator[list[Sequence[Any]]]:
    """Rows one by one as batches that the file takes: few at a time as soon as they're wide.

    Raises:
        DataRejected: `E_LINE`: a row is larger than any that is read.
    """
    batch: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        width = sum(len(value) for value in row if type(value) is str or type(value) is bytes)
        if width > MOST_ROW:
            raise too_long()
        size += width
        batch.append(row)
        if len(batch) >= file.batch or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """A file of this user's alone, open for writing; it's removed again where the block fails."""
    with open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            yield file
        except BaseException:
            target.unlink(missing_ok=True)
            raise


class Stop:
    """Tells a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._interrupts: list[Callable[[], None]] = []

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def interrupts(self, what: Callable[[], None]) -> None:
        """Have something called that ends what the thread waits for."""
        self._interrupts.append(what)
        if self.asked:
            what()

    def now(self) -> None:
        self._asked.set()
        for interrupt in list(self._interrupts):
            interrupt()


async def in_thread(work: Callable[[Stop], T], seconds: float) -> T:
    """Run what blocks in a thread of its own, none of those that hash and copy files.

    Late or cancelled, it's told to stop and waited for, but not without end. Its thread counts as taken for as long as
    it runs.

    Raises:
        DataRejected: `E_DEADLINE`; it took longer than `seconds`.
        Transient: as many threads as there may be are taken.
    """
    if not _free.acquire(blocking=False):
        raise Transient("As many queries run as may run at a time.", hint="Try again in a minute.")
    stop = Stop()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work(stop))
        except CourtsideError as refused:
            done.set_exception(refused)
        finally:
            _free.release()
            # Whatever else ends the thread is logged by it, and still reaches who waits.
            if not done.done():
                done.set_exception(sys.exc_info()[1] or RuntimeError("the query's thread ended"))

    running = asyncio.wrap_future(done)
    # Told to nobody where nobody waits any more.
    running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    # Not waited for when the server ends.
    threading.Thread(target=run, name="query", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(running)
    except TimeoutError:
        raise too_slow() from None
    finally:
        if not running.done():
            stop.now()
            await asyncio.wait([running], timeout=GRACE_SECONDS)


def too_slow() -> DataRejected:
    return DataRejected(
        "E_DEADLINE", "The query takes too long.", hint="Narrow it, or have an index made for what it looks for."
    )


def too_wide() -> DataRejected:
    return DataRejected(
        "E_CELL",
        f"A value of the query is over {MOST_CELL:,} bytes.",
        hint="Leave its column out, or cut it with substr.",
    )


def too_long() -> DataRejected:
    return DataRejected(
        "E_LINE",
        f"A row of the query is over {MOST_ROW:,} bytes.",
        hint="Name fewer columns, or cut the wide ones with substr.",
    )


def too_much() -> DataRejected:
    return DataRejected(
        "E_SIZE",
        f"The rows of the query are so wide that over {MOST_AT_ONCE:,} bytes came at once.",
        hint="Leave the wide columns out, or cut them with substr.",
    )


def would_write() -> InvalidInput:
    return InvalidInput("The statement does more than read tables; it isn't run.", hint="Give one SELECT.")


# What a statement gets wrong -> what is said of it, and what to do.
_WRONG = {
    "table": ("names a table that isn't there", "The tables: {tables}."),
    "column": ("names a column that isn't there", "Select * FROM the table LIMIT 5 to see its columns."),
    "function": ("calls a function that isn't there", "Use one of this database's functions."),
    "syntax": ("isn't understood", "Give one SELECT in this database's SQL."),
    "statements": ("holds more than one statement", "Give one SELECT, without a semicolon in it."),
    "parameters": ("has another number of marks than parameters are given", "Give options.parameters a text per mark."),
}
INFORMATION_SCHEMA = "SELECT table_schema, table_name FROM information_schema.tables"


def refused(
    name: str, *, wrong: str | None = None, position: int | None = None, tables: str = INFORMATION_SCHEMA
) -> InvalidInput:
    """The database can't make sense of the statement.

    Args:
        name: the database's own code or name of the error, without its text: that may hold values.
        wrong: what is wrong with it, `table`, `column`, `function`, `syntax`, `statements` or `parameters`, where that
            is known.
        position: the character, from 1, where it stumbled, as far as it says so.
        tables: the query that lists the database's tables.
    """
    said, hint = _WRONG.get(wrong or "", ("is refused by the database", "Give one SELECT; check names and marks."))
    where = "" if position is None else f" at character {position}"
    return InvalidInput(
        f"The query {said}{where} ({name}).",
        hint=hint.format(tables=tables),
        details={"database": name} | ({} if position is None else {"position": position}),
    )


def no_columns() -> InvalidInput:
    return InvalidInput("The statement gives no table.", hint="Give one SELECT.")


def may_not_read() -> DataRejected:
    return DataRejected(
        "E_PERMISSION",
        "The source's account may not read that.",
        hint="Name other tables, or have the account granted SELECT.",
    )


def no_login(name: str) -> BadConfiguration:
    return BadConfiguration(
        f"The database refuses the source's account ({name}).", hint="Correct the source in COURTSIDE_SQL_SOURCES."
    )


def too_powerful() -> BadConfiguration:
    return BadConfiguration(
        "The source's account may write files on the database's machine, so that a query could; nothing was run.",
        hint="Give COURTSIDE_SQL_SOURCES an account that may only read the tables: docs/guides/import.md shows how.",
    )


def unreachable(name: str) -> Transient:
    return Transient(
        f"The database can't be reached ({name}).", hint="Check that it runs, and the source in COURTSIDE_SQL_SOURCES."
    )
