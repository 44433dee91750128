"""npz files: zip archives of numpy arrays without objects."""

from __future__ import annotations

from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.arrays import read_npy
from mcp_server.core.model_files.report import FileReading, Unread


def read_npz(archive: Archive, reading: FileReading) -> None:
    """Look at every array.

    Raises:
        Unread: a member isn't an array, or holds objects.
    """
    for name in archive.members:
        try:
            read_npy(archive.read(name), reading)
        except Unread as unread:
            raise Unread(unread.code, unread.what, name) from None
