"""Which format a file has: its content says it, and its name must not say otherwise."""

from __future__ import annotations

import codecs
import re
from typing import Literal, NoReturn

from mcp_server.core.ingest.packing import Packing
from mcp_server.errors import DataRejected

Format = Literal["csv", "json", "ndjson", "parquet"]

HEAD = 4096
"""Bytes of a file's beginning that tell its format."""

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
_PACKINGS: dict[str, Packing] = {".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
_PACKED: dict[bytes, Packing] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_JSON_ARRAY = re.compile(rb"\s*\[\s*\{")
_JSON_LINE = re.compile(rb"\s*\{\s*\"")


def suffix(name: str | None) -> str:
    """The end of a name from its last point, in lower case; empty where it has none.

    >>> suffix("Games.CSV.gz")
    '.gz'
    """
    before, point, end = (name or "").rpartition(".")
    return point + end.lower() if before else ""


def packing_of(head: bytes, name: str | None) -> Packing | None:
    """How a file is compressed; None where it isn't.

    Raises:
        DataRejected: `E_FORMAT`: name and content disagree.
    """
    found = next((packing for magic, packing in _PACKED.items() if head.startswith(magic)), None)
    end = suffix(name)
    stated = _PACKINGS.get(end)
    if stated != found and (stated is not None or end in _FORMATS):
        _refuse_name(end)
    return found


def unpacked_name(name: str | None, member: str | None = None) -> str | None:
    """What the content of a compressed file is called: as the member, or as the file without its last suffix."""
    if member is not None:
        return member
    return name[: -len(suffix(name))] if name and suffix(name) in _PACKINGS else name


def format_of(head: bytes, name: str | None) -> Format:
    """The format of a file that isn't compressed (any more); CSV where nothing speaks against it.

    Raises:
        DataRejected: `E_FORMAT`: name and content disagree; `E_EMPTY`: there's no content.
    """
    stated = _FORMATS.get(suffix(name))
    if not head.strip():
        raise DataRejected("E_EMPTY", "The file has no content.", hint="Is it the right file?")
    if any(head.startswith(magic) for magic in _PACKED):
        raise DataRejected(
            "E_FORMAT", "The content is compressed twice.", hint="Unpack it once and import what comes out."
        )
    if head.startswith(b"PAR1") or stated == "parquet":
        if stated not in {None, "parquet"} or not head.startswith(b"PAR1"):
            _refuse_name(suffix(name))
        return "parquet"
    plain = head.removeprefix(codecs.BOM_UTF8)
    if stated == "json":
        return "ndjson" if plain.lstrip().startswith(b"{") else "json"
    if stated is not None:
        return stated
    if _JSON_ARRAY.match(plain):
        return "json"
    return "ndjson" if _JSON_LINE.match(plain) else "csv"


def _refuse_name(end: str) -> NoReturn:
    raise DataRejected(
        "E_FORMAT",
        f"The file's name ends in {end} and its content is something else.",
        hint="Give the file the name that fits its content, or export it again.",
    )
