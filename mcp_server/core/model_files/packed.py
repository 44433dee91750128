"""Compressed files: one stream, unpacked within bounds, with nothing behind it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from mcp_server.core.model_files.report import FileReading, Unread

_MEMORY = 128 * 1024 * 1024
_STEP = 1 << 20
_STARTS = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
UNREAD = ("lz4", "zstd")


def packing_of_model(view: memoryview) -> str | None:
    """How content is compressed, by its first bytes; None where it isn't."""
    start = bytes(view[:6])
    for mark, name in _STARTS:
        if start.startswith(mark):
            return name
    if len(start) > 1 and start[0] == 0x78 and int.from_bytes(start[:2], "big") % 31 == 0:
        return "zlib"
    return None


def unpacked(view: memoryview, packing: str, reading: FileReading) -> memoryview:
    """The content of a compressed file.

    Raises:
        Unread: it's damaged, a bomb, followed by something, or of a kind that isn't unpacked here.
    """
    if packing in UNREAD:
        what = (
            f"It's compressed with {packing}, which nothing here unpacks. Where it was made, save it again with zlib, "
        )
        raise Unread("uncheckable", f"{what}as by joblib.dump(model, file, compress=('zlib', 3)).", 0)
    out = bytearray()
    reader: Any
    try:
        if packing in ("gzip", "zlib"):
            reader = zlib.decompressobj(31 if packing == "gzip" else 15)
        elif packing == "bzip2":
            reader = bz2.BZ2Decompressor()
        else:
            reader = lzma.LZMADecompressor(lzma.FORMAT_XZ if packing == "xz" else lzma.FORMAT_ALONE, memlimit=_MEMORY)
        waiting: bytes | memoryview = view
        while not reader.eof:
            piece = reader.decompress(waiting, _STEP)
            waiting = reader.unconsumed_tail if packing in ("gzip", "zlib") else b""
            if not piece and not waiting and not reader.eof:
                raise Unread("damaged", "The compressed content is cut off.")
            reading.take_unpacked(len(piece), len(view))
            out += piece
            _check_ratio(len(out), len(view))
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        raise Unread("damaged", "The compressed content is damaged.") from None
    if reader.unused_data:
        raise Unread("second_content", f"{len(reader.unused_data):,} bytes follow the compressed content.")
    return memoryview(out).toreadonly()


def _check_ratio(size: int, packed: int) -> None:
    FileReading(unpacked=size).take_unpacked(size, packed)
