"""Compressed files: gzip, zip with one member, and zstd, unpacked as a stream that ends early where it's a trap."""

from __future__ import annotations

import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Literal, NoReturn

from mcp_server.core.ingest.options import MIB, Limits
from mcp_server.errors import DataRejected

Packing = Literal["gzip", "zip", "zstd"]

MAX_RATIO = 200
RATIO_FROM = 10 * MIB
_MAX_MEMBERS = 100
_WINDOW_LOG = 27  # What zstd itself unpacks unless it's told otherwise: 128 MiB.
_CHUNK = 64 * 1024
_PIECE = MIB
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZIP_END = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP_END_SIZE = 22
_ZIP_LOCATOR_SIZE = 20
_ZIP_COMMENT = 65_535
_ZIP_LOCAL_SIZE = 30
_ENCRYPTED = 0x1
_DAMAGED_HINT = "Copy or download it again, or pack it again."
_ALONE_HINT = "Put one CSV, TSV or JSON file alone into the archive, without a folder."


def unpack(source: BinaryIO, target: BinaryIO, packing: Packing, limits: Limits) -> str | None:
    """Write what a compressed file holds.

    Args:
        source: seekable, at its beginning.
        target: gets the content; what was written before a refusal is of no use.
        limits: `size` bounds the content.
    Returns:
        the member's name in an archive; None for gzip and zstd.
    Raises:
        DataRejected: `E_BOMB` (more than 200 times its size after 10 MiB, overlapping members, a window over 128 MiB),
            `E_SIZE`, `E_ARCHIVE`, `E_DAMAGED`, `E_FORMAT` (an Excel workbook).
    """
    size = source.seek(0, 2)
    source.seek(0)
    if packing == "zip":
        return _unpack_zip(source, size, target, limits)
    pieces = _gunzip(source) if packing == "gzip" else _unzstd(source)
    written = 0
    try:
        for piece in pieces:
            written += len(piece)
            _check_amount(written, min(source.tell(), size), limits)
            target.write(piece)
    except zlib.error:
        _refuse_damaged(packing)
    return None


def _check_amount(written: int, read: int, limits: Limits) -> None:
    if written > RATIO_FROM and written > MAX_RATIO * read:
        _refuse_bomb(f"The content is more than {MAX_RATIO} times as large as the file.")
    if written > limits.size:
        raise DataRejected(
            "E_SIZE",
            f"The content has more than {limits.size} bytes.",
            hint="Split the file, or have the limit raised.",
            details={"limit": limits.size},
        )


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    """The content of all members one after the other; zeros may pad the end."""
    data = source.read(_CHUNK)
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.decompress(data, _PIECE)
            data = member.unconsumed_tail
            if not data and not member.eof:
                data = source.read(_CHUNK)
                if not data and not piece:
                    _refuse_damaged("gzip")
            yield piece
        data = (member.unused_data or source.read(_CHUNK)).lstrip(b"\0")


def _unzstd(source: BinaryIO) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    data = source.read(_CHUNK)
    while data:
        if len(data) < _ZIP_LOCAL_SIZE:  # a frame's head has at most 18 bytes
            data += source.read(_CHUNK)
        if _window(data) > 1 << _WINDOW_LOG:
            _refuse_bomb("Unpacking the file would take more than 128 MiB of memory.")
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        while not frame.eof:
            try:
                piece = frame.decompress(data, _PIECE)
            except zstd.ZstdError:
                _refuse_damaged("zstd")
            data = b""
            if frame.needs_input and not frame.eof:
                data = source.read(_CHUNK)
                if not data:
                    _refuse_damaged("zstd")
            yield piece
        data = frame.unused_data or source.read(_CHUNK)


def _window(head: bytes) -> int:
    """Bytes that a zstd frame asks to be kept while it's unpacked, of RFC 8878; 0 where it isn't an ordinary frame."""
    if len(head) < 18 or not head.startswith(_ZSTD_MAGIC):
        return 0
    descriptor = head[4]
    if descriptor & 0x20:  # one segment: the whole content is the window
        width = 1 << (descriptor >> 6)
        at = 5 + (0, 1, 2, 4)[descriptor & 3]
        return int.from_bytes(head[at : at + width], "little") if width > 1 else head[at]
    base = 1 << (10 + (head[5] >> 3))
    return base + base // 8 * (head[5] & 7)


def _unpack_zip(source: BinaryIO, size: int, target: BinaryIO, limits: Limits) -> str:
    _check_directory(source, size)
    try:
        with zipfile.ZipFile(source) as archive:
            member = _only_member(archive, limits)
            written = 0
            with archive.open(member) as content:
                while piece := content.read(_PIECE):
                    written += len(piece)
                    _check_amount(written, member.compress_size, limits)
                    target.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError):
        _refuse_damaged("zip")
    if written != member.file_size:
        _refuse_damaged("zip")
    return member.filename


def _check_directory(source: BinaryIO, size: int) -> None:
    """Refuse a directory that would take long to read, before anything reads it."""
    source.seek(max(0, size - _ZIP_END_SIZE - _ZIP_LOCATOR_SIZE - _ZIP_COMMENT))
    tail = source.read()
    source.seek(0)
    at = tail.rfind(_ZIP_END)
    if at < 0 or len(tail) - at < _ZIP_END_SIZE:
        _refuse_damaged("zip")
    members = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    large = tail[max(0, at - _ZIP_LOCATOR_SIZE) : at].startswith(_ZIP64_LOCATOR)
    if members > _MAX_MEMBERS or directory > MIB or large:
        _refuse_archive("The archive has too many members.")


def _only_member(archive: zipfile.ZipFile, limits: Limits) -> zipfile.ZipInfo:
    members = archive.infolist()
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise DataRejected(
            "E_FORMAT", "The content is an Excel workbook.", hint="Export the sheet as CSV and import that."
        )
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            _refuse_bomb("Members of the archive lie over each other.")
        end = member.header_offset + _ZIP_LOCAL_SIZE + len(member.filename.encode()) + member.compress_size
    if len(members) != 1:
        _refuse_archive(f"The archive has {len(members)} members, not one.")
    member = members[0]
    parts = member.orig_filename.replace("\\", "/").split("/")
    if (len(parts) > 1 and (parts[0] == "" or ".." in parts or ":" in parts[0])) or ".." in parts:
        _refuse_archive("The member's name leads out of the archive.")
    if member.is_dir() or stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG}:
        _refuse_archive("The member isn't a plain file.")
    if member.flag_bits & _ENCRYPTED:
        _refuse_archive("The archive is encrypted.")
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        _refuse_archive("The member is packed in a rare way.")
    _check_amount(member.file_size, max(member.compress_size, 1), limits)
    return member


def _refuse_bomb(message: str) -> NoReturn:
    raise DataRejected("E_BOMB", message, hint="Unpack it yourself and import the plain file.")


def _refuse_archive(message: str) -> NoReturn:
    raise DataRejected("E_ARCHIVE", message, hint=_ALONE_HINT)


def _refuse_damaged(packing: Packing) -> NoReturn:
    raise DataRejected("E_DAMAGED", f"The {packing} file is cut off or damaged.", hint=_DAMAGED_HINT)
