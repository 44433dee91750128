"""Zip archives, read strictly: every byte belongs to exactly one member or to the directory.

So no two readers can find different members, and nothing can stand before, between or behind them.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mcp_server.core.model_files.report import FileReading, Unread

MOST_MEMBERS = 50_000
LONGEST_NAME = 200

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SIZES_BEHIND = 0x8
_KNOWN_FLAGS = 0x2 | 0x4 | _SIZES_BEHIND | 0x800
_LINK, _KINDS = 0o120000, 0o170000
_STORED, _DEFLATED = 0, 8
_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive.

    Args:
        start, packed: where its bytes are, and how many.
        size: bytes once unpacked.
    """

    name: str
    start: int
    packed: int
    size: int
    method: int
    check: int


class Archive:
    """The members of an archive.

    Args:
        view: the whole file.
    Raises:
        Unread: it's damaged, has a trap, or has parts that aren't read.
    """

    def __init__(self, view: memoryview, reading: FileReading) -> None:
        self._view = view
        self._reading = reading
        members = self._members()
        self.members = {member.name: member for member in members}
        reading.counts["entries"] += len(self.members)

    def read(self, name: str) -> memoryview:
        """The content of a member, checked by length and CRC.

        Raises:
            Unread: it's damaged, or has another size than it says.
        """
        member = self.members[name]
        raw = self._view[member.start : member.start + member.packed]
        if member.method == _DEFLATED:
            self._reading.take_unpacked(member.size, member.packed, name)
            reader = zlib.decompressobj(-15)
            try:
                content = reader.decompress(raw, member.size + 1)
            except zlib.error:
                raise Unread("damaged", "A member's compressed content is damaged.", name) from None
            if len(content) != member.size or not reader.eof or reader.unused_data:
                raise Unread("damaged", "A member has another size than it says.", name)
            raw = memoryview(content)
        if zlib.crc32(raw) != member.check:
            raise Unread("damaged", "A member doesn't have the checksum that it states.", name)
        return raw

    def _members(self) -> list[Entry]:
        start, size, count = self._directory()
        listed = list(self._listed(start, size, count))
        names: set[str] = set()
        at = 0
        members = []
        for local, member, flags in sorted(listed, key=lambda one: one[0]):
            folded = unicodedata.normalize("NFC", member.name).casefold()
            if folded in names:
                raise Unread("archive_trap", "Two members have one name.", at)
            names.add(folded)
            if local != at:
                raise Unread("archive_trap", "Members overlap, or bytes stand between them.", min(local, at))
            member, at = self._located(local, member, flags)
            if not member.name.endswith("/"):
                members.append(member)
        if at != start:
            raise Unread("archive_trap", "Bytes stand between the last member and the directory.", at)
        return members

    def _directory(self) -> tuple[int, int, int]:
        """Where the directory starts, its length, and how many entries it has."""
        view, end = self._view, len(self._view) - 22
        if end < 0 or bytes(view[end : end + 4]) != _END or bytes(view[end + 20 :]) != b"\0\0":
            raise Unread("second_content", "The archive doesn't end with its directory.", max(end, 0))
        disk, first, here, count, size, start = struct.unpack("<4H2L", view[end + 4 : end + 20])
        if end >= 76 and bytes(view[end - 20 : end - 16]) == _LOCATOR:
            end -= 76
            (place,) = struct.unpack("<Q", view[end + 64 : end + 72])
            if place != end or bytes(view[end : end + 4]) != _END64:
                raise Unread("archive_trap", "The archive has two directories' ends.", end)
            length, _, _, disk, first, here, count, size, start = struct.unpack("<Q2H2L4Q", view[end + 4 : end + 56])
            if length != 44:
                raise Unread("unknown_part", "The directory has an extension.", end)
        if disk or first or here != count or count > MOST_MEMBERS or start + size != end:
            raise Unread("archive_trap", "The directory isn't where the archive says, or is too long.", max(end, 0))
        return start, size, count

    def _listed(self, at: int, size: int, count: int) -> Iterator[tuple[int, Entry, int]]:
        end = at + size
        for _ in range(count):
            if at + _CENTRAL.size > end:
                raise Unread("damaged", "The directory is cut off.", at)
            mark, _, _, flags, method, _, _, check, packed, full, name, extra, comment, disk, _, outside, local = (
                _CENTRAL.unpack(self._view[at : at + _CENTRAL.size])
            )
            after = at + _CENTRAL.size
            if mark != b"PK\x01\x02" or disk or after + name + extra + comment > end:
                raise Unread("damaged", "An entry of the directory is damaged.", at)
            if flags & _ENCRYPTED or flags & ~_KNOWN_FLAGS:
                raise Unread("uncheckable", "A member is encrypted, or of a form that isn't read.", at)
            if method not in (_STORED, _DEFLATED):
                raise Unread("uncheckable", "A member is compressed in a way that isn't read.", at)
            if (outside >> 16) & _KINDS == _LINK:
                raise Unread("archive_trap", "A member is a link.", at)
            sizes = _wide(bytes(self._view[after + name : after + name + extra]), [full, packed, local], at)
            text = _named(bytes(self._view[after : after + name]), at)
            if method == _STORED and sizes[0] != sizes[1]:
                raise Unread("damaged", "A member has two sizes.", at)
            yield sizes[2], Entry(text, 0, sizes[1], sizes[0], method, check), flags
            at = after + name + extra + comment
        if at != end:
            raise Unread("archive_trap", "The directory has more than its entries.", at)

    def _located(self, at: int, member: Entry, flags: int) -> tuple[Entry, int]:
        """The member with its bytes' place, and where the next one has to start."""
        header = self._view[at : at + _LOCAL.size]
        if len(header) < _LOCAL.size:
            raise Unread("damaged", "A member is cut off.", at)
        mark, _, own_flags, method, _, _, check, packed, full, name, extra = _LOCAL.unpack(header)
        start = at + _LOCAL.size + name + extra
        text = bytes(self._view[at + _LOCAL.size : at + _LOCAL.size + name])
        if mark != b"PK\x03\x04" or method != member.method or own_flags != flags or _named(text, at) != member.name:
            raise Unread("archive_trap", "A member says other things of itself than the directory does.", at)
        end = start + member.packed
        stated = _wide(bytes(self._view[start - extra : start]), [full, packed], at)
        if flags & _SIZES_BEHIND:
            end += self._behind(end, member)
            if stated not in ([0, 0], [member.size, member.packed]):
                raise Unread("archive_trap", "A member has two sizes.", at)
        elif (check, *stated) != (member.check, member.size, member.packed):
            raise Unread("archive_trap", "A member has two sizes or checksums.", at)
        if end > len(self._view):
            raise Unread("damaged", "A member is cut off.", at)
        return Entry(member.name, start, member.packed, member.size, member.method, member.check), end

    def _behind(self, at: int, member: Entry) -> int:
        """How long the sizes are that stand behind a member's bytes."""
        for mark in (b"PK\x07\x08", b""):
            for form in ("<3L", "<L2Q"):
                wanted = struct.calcsize(form)
                if form == "<3L" and max(member.packed, member.size) > 0xFFFFFFFF:
                    continue
                expected = mark + struct.pack(form, member.check, member.packed, member.size)
                if bytes(self._view[at : at + len(expected)]) == expected:
                    return wanted + len(mark)
        raise Unread("damaged", "The sizes behind a member aren't its own.", at)


def _wide(extra: bytes, sizes: list[int], at: int) -> list[int]:
    """The sizes, those of 64 bits taken from the extra field."""
    place, found = 0, b""
    while place + 4 <= len(extra):
        kind, length = struct.unpack("<2H", extra[place : place + 4])
        if kind == 1:
            found += extra[place + 4 : place + 4 + length]
        place += 4 + length
    result = []
    for size in sizes:
        if size == 0xFFFFFFFF:
            if len(found) < 8:
                raise Unread("damaged", "A size is missing.", at)
            size, found = int.from_bytes(found[:8], "little"), found[8:]
        result.append(size)
    return result


def _named(raw: bytes, at: int) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Unread("archive_trap", "A member's name isn't UTF-8.", at) from None
    parts = name.removesuffix("/").split("/")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "\\" in name or ":" in name:
        raise Unread("archive_trap", "A member's name can't be used.", at)
    if any(part in ("", ".", "..") for part in parts):
        raise Unread("archive_trap", "A member's name leads out of its folder.", at)
    return name
