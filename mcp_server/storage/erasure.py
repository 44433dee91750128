"""Looking for a person's value in what is stored as text, and taking it out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from sqlalchemy import Table, select, update

from mcp_server.core.personal.written import written
from mcp_server.storage.tables import approvals, assessments, jobs, runs

if TYPE_CHECKING:
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.transaction import Transaction

ERASED = "[erased]"
SHORTEST = 4
"""Characters of a value that is looked for in texts; a shorter one would be found in anything."""
CHUNK = 4 * 1024 * 1024
_STEPS = ("do", "by", "how")
# What a comparison of groups is made of; only names of groups and columns are from the data.
_FOUND = frozenset(
    {
        *("found", "rows", "left_out", "positive", "columns", "column", "reference", "groups", "name", "value"),
        *("share", "share_of_all", "small", "rates", "gaps", "rate", "group", "difference", "ratio"),
        *("conflicts", "base_rates", "needed_ratio", "observed_ratio", "needed_gap", "verdict", "gates"),
        *("kind", "limit", "reason", "proxies", "area", "asked", "pass", "fail", "base_rate", "selection_rate"),
        *("false_positive_rate", "false_negative_rate", "error_rate", "calibration_gap", "calibration_error"),
        *("mean_error", "mean_absolute_error"),
    }
)
# What the record of a run from MLflow is made of; every other text in it is a stranger's.
_FOREIGN = frozenset(
    {
        *("mlflow", "reported", "value", "source", "kind", "run", "name", "experiment", "tags", "data", "metrics"),
        *("digest", "source_type", "registered", "model", "file", "verdict", "codes", "state", "code", "server"),
        *("data-only", "not understood", "unsafe", "pickle", "joblib", "skops", "written", "failed"),
    }
)
_TEXTS: tuple[tuple[Table, tuple[str, ...], frozenset[str] | None], ...] = (
    (jobs, ("arguments", "message", "result", "error"), None),
    (runs, ("parameters", "metrics", "facts"), None),
    (assessments, ("found",), _FOUND),
    (approvals, ("note",), frozenset()),
)


def words_of(values: Iterable[object]) -> frozenset[str]:
    """The texts to look for: each value as it's written, unless it is too short to tell anything."""
    return frozenset(word for word in (str(value).strip() for value in values) if len(word) >= SHORTEST)


def said(words: Collection[str]) -> re.Pattern[str]:
    """What finds one of some words, each as a word of its own, in text whose case was folded; nothing without any.

    >>> bool(said({"Ann"}).search("for ann's club")), bool(said({"Ann"}).search("annual")), bool(said([]).search("x"))
    (True, False, False)
    """
    values = "|".join(re.escape(written(word)) for word in sorted(words))
    return re.compile(rf"(?<!\w)(?:{values})(?!\w)" if values else "(?!)")


def holds(content: bytes, words: Collection[str]) -> bool:
    """Whether text or JSON holds one of some words, as itself or as JSON escapes it.

    >>> holds(b'{"a":"ann@example.org"}', {"ann@example.org"}), holds(b"{}", {"ann@example.org"})
    (True, False)
    """
    return any(needle in content for needle in _needles(words))


def without(value: Any, words: Collection[str], *, names: Collection[str] | None = None) -> Any:
    """A JSON value in whose expressions each quoted word is replaced.

    Only what stands in quotes: `season` is a column's name in `season > 3`, and a value in `x == "season"`.

    Args:
        names: where given, also texts and keys that are a word as a whole, unless they are among these names or say
            what a step does; and the values in an address's query.

    >>> without({"test": 'email != "ann@example.org" and ann > 3'}, {"ann@example.org", "ann"})
    {'test': 'email != "[erased]" and ann > 3'}
    >>> without({"by": "Smith", "value": " smith", "columns": ["Smith"]}, {"Smith"}, names=["Smith"])
    {'by': 'Smith', 'value': '[erased]', 'columns': ['Smith']}
    >>> without("https://example.org/a?mail=ann%40example.org&x=1", {"ann@example.org"}, names=[])
    'https://example.org/a?mail=[erased]&x=1'
    """
    if isinstance(value, str):
        for word in words:
            for quote in ("'", '"'):
                value = value.replace(f"{quote}{word}{quote}", f"{quote}{ERASED}{quote}")
        return value if names is None or value in names else _whole(value, words)
    if isinstance(value, dict):
        return {
            name if names is None or name in names or name not in words else ERASED: part
            if names is not None and name in _STEPS
            else without(part, words, names=names)
            for name, part in value.items()
        }
    return [without(part, words, names=names) for part in value] if isinstance(value, list) else value


def _whole(text: str, words: Collection[str]) -> str:
    wanted = {written(word) for word in words}
    if written(text) in wanted:
        return ERASED
    address, mark, query = text.partition("?")
    if not mark or "://" not in address:
        return text
    pairs = [pair.partition("=") for pair in query.split("&")]
    told = [(name, equals, ERASED if written(unquote_plus(part)) in wanted else part) for name, equals, part in pairs]
    return address + mark + "&".join(map("".join, told))


async def scrub(tx: Transaction, words: Collection[str]) -> int:
    """Replace quoted words in what jobs and runs were asked and answered, and groups that are named by one,
    and in notes of approvals; also texts of runs from elsewhere that are a word as a whole.

    Returns:
        how many records were changed.
    """
    changed = 0
    for table, names, known in _TEXTS:
        columns = [table.c[name] for name in names]
        for row in (await tx.execute(select(table.c.id, *columns))).mappings().all():
            old = {name: row[name] for name in names}
            new = without(old, words, names=_FOREIGN if _is_foreign(old) else known)
            if new != old:
                await tx.execute(update(table).where(table.c.id == row["id"]).values(**new))
                changed += 1
    return changed


def _is_foreign(of: Mapping[str, Any]) -> bool:
    return ((of.get("facts") or {}).get("source") or {}).get("kind") == "mlflow"


def stored_forms(keys: Keys, column: str, spellings: Iterable[Any]) -> frozenset[str]:
    """How a value stands in the features of stored predictions: itself, or the hash of a personal column, as JSON."""
    found = set()
    for spelling in spellings:
        # As either JSON writer of the prediction log does.
        found.add(json.dumps(spelling))
        found.add(json.dumps(spelling, ensure_ascii=False))
        found.add(json.dumps(keys.pseudonym(column, spelling)))
    return frozenset(found)


def copies(folder: Path, words: Collection[str]) -> dict[str, int]:
    """How often words stand in the raw bytes of each file under a folder; blocking.

    What is compressed inside a file isn't seen.

    Returns:
        path relative to `folder` -> count, for files that have any.
    """
    needles = _needles(words)
    found = {}
    for path in sorted(folder.rglob("*")) if needles else ():
        if path.is_file() and not path.is_symlink():
            count = _count(path, needles)
            if count:
                found[path.relative_to(folder).as_posix()] = count
    return found


def _count(path: Path, needles: frozenset[bytes]) -> int:
    overlap = max(map(len, needles)) - 1
    count, tail = 0, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                window = tail + chunk
                for needle in needles:
                    # What lies in the overlap alone was counted with the chunk before.
                    count += window.count(needle) - tail.count(needle)
                tail = window[-overlap:] if overlap else b""
    except FileNotFoundError:
        return 0  # removed meanwhile
    return count


def _needles(words: Collection[str]) -> frozenset[bytes]:
    plain = {word.encode("utf-8", "surrogatepass") for word in words}
    return frozenset(plain | {json.dumps(word)[1:-1].encode() for word in words})
