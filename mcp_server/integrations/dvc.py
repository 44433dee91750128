"""DVC: what a `.dvc` file says about the one file that it tracks, and where that may be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mcp_server.errors import DataRejected

SUFFIX = ".dvc"
MOST_BYTES = 16 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_CHUNK = 1024 * 1024
_HINT = "Give a .dvc file that `dvc add` wrote for one file."


@dataclass(frozen=True, slots=True)
class Tracked:
    """One file under DVC.

    Args:
        md5: of its content, hex.
        size: bytes; None where the document doesn't say.
        path: from the folder of the document, or `folder` within that.
        folder: the document's `wdir`.
        by_line: the digest is of a text with line ends of one character, as DVC took it before version 3.
    """

    md5: str
    size: int | None
    path: str
    folder: str
    by_line: bool

    @property
    def name(self) -> str:
        return Path(self.path).name

    def places(self, document: Path, top: Path) -> Iterator[tuple[str, Path]]:
        """Where the file may be: `beside` the document, or in the `cache` of the repository that it's in.

        Args:
            document: the `.dvc` file.
            top: a folder around it; no repository is looked for further up.
        """
        yield "beside", document.parent / self.folder / self.path
        for folder in document.parents:
            if (folder / SUFFIX).is_dir():
                cache = folder / SUFFIX / "cache"
                for kept in (cache / "files" / "md5", cache):
                    yield "cache", kept / self.md5[:2] / self.md5[2:]
                return
            if folder == top:
                return

    def is_in(self, path: Path) -> bool:
        """Whether a file has the tracked content; blocking."""
        if self.size is not None and path.stat().st_size != self.size:
            return False
        return _md5(path, by_line=False) == self.md5 or (self.by_line and _md5(path, by_line=True) == self.md5)


def read(document: bytes) -> Tracked:
    """What a `.dvc` file says.

    Raises:
        DataRejected: `E_FORMAT`: it isn't one, or tracks a folder, several files or none, or not by MD5.
    """
    try:
        # Its base loader makes texts, lists and maps only, so that a digest of digits stays one.
        found = yaml.load(document.decode(), Loader=yaml.BaseLoader)  # noqa: S506  # nosec B506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise _refused("The file isn't YAML, as a .dvc file is.") from None
    outs = found.get("outs") if isinstance(found, dict) else None
    if not isinstance(outs, list) or not outs or not all(isinstance(out, dict) for out in outs):
        raise _refused("The .dvc file lists no file that it tracks.")
    if len(outs) > 1:
        raise _refused(f"The .dvc file tracks {len(outs)} files.")
    out: dict[str, Any] = outs[0]
    md5, path, folder = (out.get("md5"), out.get("path"), found.get("wdir", "."))
    if "nfiles" in out or (isinstance(md5, str) and md5.endswith(".dir")):
        raise _refused("The .dvc file tracks a folder.", "Import the folder's files themselves, by its path.")
    if not isinstance(md5, str) or not _MD5.match(md5):
        raise _refused("The .dvc file doesn't give the MD5 of what it tracks.")
    if not isinstance(path, str) or not path or not isinstance(folder, str):
        raise _refused("The .dvc file doesn't say where the file is that it tracks.")
    size = out.get("size")
    if size is not None and not (isinstance(size, str) and size.isascii() and size.isdecimal() and len(size) < 20):
        raise _refused("The size in the .dvc file isn't a number.")
    return Tracked(md5, None if size is None else int(size), path, folder, by_line="hash" not in out)


def too_large() -> DataRejected:
    return _refused("The .dvc file is larger than any that DVC writes for one file.")


def _md5(path: Path, *, by_line: bool) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk.replace(b"\r\n", b"\n") if by_line else chunk)
    return digest.hexdigest()


def _refused(message: str, hint: str = _HINT) -> DataRejected:
    return DataRejected("E_FORMAT", message, hint=hint)
