"""Tables that DVC tracks: the `.dvc` file names a file by its MD5, and only that content is imported."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mcp_server.errors import DataRejected
from mcp_server.workflows.files import Brought, copy_file, locate

SUFFIX = ".dvc"
_MISMATCH = {
    "beside": "`dvc checkout` puts the tracked file back; or import the file itself, as it is.",
    "cache": "`dvc fetch` after removing it from the cache brings it again.",
}


def is_tracked(path: str) -> bool:
    """Whether a path names a `.dvc` file; a folder of that name is DVC's own."""
    return path.lower().endswith(SUFFIX) and Path(path).name.lower() != SUFFIX


async def bring(path: str, allowed: Sequence[Path], folder: Path, *, most_bytes: int) -> Brought:
    """Copy the file that a `.dvc` file tracks, from beside it or from DVC's cache, once its digest was checked.

    Args:
        path, allowed, most_bytes: as for `copy_allowed`; the tracked file has to be in an allowed folder, too.
        folder: where the copy goes.
    Raises:
        DataRejected: `E_FORMAT`: not a `.dvc` file of one file; `E_PATH`: what it tracks isn't there; `E_DIGEST`: what
            is there has other content; and what copying raises.
    """
    return await asyncio.to_thread(_bring, path, allowed, folder, most_bytes)


def _bring(path: str, allowed: Sequence[Path], folder: Path, most_bytes: int) -> Brought:
    from mcp_server.integrations import dvc

    root, parts = locate(path, allowed)
    try:
        document = copy_file(root.joinpath(*parts), allowed, folder / "document", most_bytes=dvc.MOST_BYTES)
    except DataRejected as refused:
        raise dvc.too_large() if refused.code == "E_SIZE" else refused from None
    tracked = dvc.read(document.path.read_bytes())
    for where, place in tracked.places(root.joinpath(*parts), root):
        try:
            copied = copy_file(place, allowed, folder / "tracked", most_bytes=most_bytes)
        except DataRejected as refused:
            if refused.code != "E_PATH":
                raise
            continue
        if not tracked.is_in(copied.path):
            copied.path.unlink()
            raise DataRejected(
                "E_DIGEST",
                f"The file {'beside the .dvc file' if where == 'beside' else 'in the cache of DVC'} isn't the one that "
                "it tracks: its size or MD5 is another.",
                hint=_MISMATCH[where],
            )
        source = {
            "kind": "dvc",
            "digest": f"sha256:{copied.digest}",
            "bytes": copied.size,
            "name": tracked.name,
            "md5": tracked.md5,
            "tracked_by": document.name,
        }
        return Brought([replace(copied, name=tracked.name)], source)
    raise DataRejected(
        "E_PATH",
        "The file that the .dvc file tracks is neither beside it nor in DVC's cache, within the allowed folders.",
        hint="`dvc pull` fetches it; only .dvc/cache of its repository is looked into.",
    )
