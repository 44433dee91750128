"""Pickle and joblib files: one stream, to the last byte."""

from __future__ import annotations

from mcp_server.core.model_files.machine import Machine
from mcp_server.core.model_files.opcodes import Content
from mcp_server.core.model_files.report import FileReading, Unread

_STARTS = b"\x80(]})lNIJKMFGVXcS\x8c\x8f\x88\x89"


def looks_like_pickle(view: memoryview) -> bool:
    """Whether content starts as a pickle does, of any protocol."""
    if not len(view):
        return False
    if view[0] == 0x80:
        return len(view) > 1 and view[1] < 32
    return view[0] in _STARTS and view[-1] == ord(".")


def read_pickle(view: memoryview, reading: FileReading) -> str:
    """Follow a pickle or joblib stream.

    Returns:
        `pickle` or `joblib`.
    Raises:
        Unread: it can't be followed to its end.
    """
    content = Content(view)
    machine = Machine(content, reading)
    try:
        reading.root = machine.run()
    finally:
        kind = "joblib" if machine.wrapped else "pickle"
        reading.counts["streams"] += 1 + machine.nested_streams
    if content.at != content.end:
        left = content.end - content.at
        raise Unread("second_content", f"{left:,} bytes follow the end of the stream.", content.at)
    if machine.nested_streams or machine.doubtful:
        _read_plainly(view, reading)
    return kind


def _read_plainly(view: memoryview, reading: FileReading) -> None:
    """As `pickle.load` would read a joblib file, to which it's opcodes alone.

    Object arrays aren't apart for it, and its memo is another. Where no padding stands before an array's bytes (before
    joblib 1.2), it goes on with these. That's no reason to refuse if it ends with an error before it does anything.
    """
    again = FileReading(opcodes=reading.opcodes)
    try:
        Machine(Content(view), again, plain=True).run()
    except Unread as unread:
        if not unread.fails:
            again.add("second_content", "Array bytes could be read as opcodes.", unread.at)
    reading.opcodes = again.opcodes
    for finding in again.findings:
        reading.add(finding.code, f"{finding.what} So `pickle.load` would read it.", finding.where)
