"""Tables under DVC: exactly the tracked content, from beside the `.dvc` file or its cache, and from nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mcp_server.errors import DataRejected
from mcp_server.workflows.files import Brought
from mcp_server.workflows.tracked import bring, is_tracked

pytestmark = pytest.mark.anyio

TABLE = b"id,score\n1,10\n2,11\n"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


MD5 = md5(TABLE)
OUT = f"outs:\n- md5: {MD5}\n  size: {len(TABLE)}\n  hash: md5\n  path: games.csv\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A repository in an allowed folder, and a folder for copies."""
    (tmp_path / "allowed" / "repo" / ".dvc").mkdir(parents=True)
    (tmp_path / "allowed" / "repo" / "data").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path / "allowed" / "repo" / "data"


async def brought(place: Path, document: str | bytes = OUT, most_bytes: int = 100_000) -> Brought:
    content = document if isinstance(document, bytes) else document.encode()
    (place / "games.csv.dvc").write_bytes(content)
    top = place.parent.parent
    return await bring("repo/data/games.csv.dvc", [top], top.parent / "scratch", most_bytes=most_bytes)


async def refused(place: Path, document: str | bytes = OUT, **how) -> DataRejected:
    with pytest.raises(DataRejected) as caught:
        await brought(place, document, **how)
    left = [file.name for file in (place.parent.parent.parent / "scratch").iterdir()]
    assert set(left) <= {"document"}
    return caught.value


def cached(place: Path, content: bytes = TABLE, *folders: str) -> None:
    folder = place.parent.joinpath(".dvc", "cache", *(folders or ("files", "md5")), MD5[:2])
    folder.mkdir(parents=True)
    (folder / MD5[2:]).write_bytes(content)


def test_only_dvc_files_are_meant():
    assert is_tracked("games.csv.dvc")
    assert is_tracked("a/games.DVC")
    assert not any(map(is_tracked, ("repo/.dvc", ".dvc", "games.csv", "games.dvc/part.csv")))


async def test_the_file_beside_it_is_taken_and_its_md5_kept(place):
    (place / "games.csv").write_bytes(TABLE)
    found = await brought(place)
    assert [(file.path.read_bytes(), file.name) for file in found.files] == [(TABLE, "games.csv")]
    assert found.source == {
        "kind": "dvc",
        "digest": f"sha256:{hashlib.sha256(TABLE).hexdigest()}",
        "bytes": len(TABLE),
        "name": "games.csv",
        "md5": MD5,
        "tracked_by": "games.csv.dvc",
    }


@pytest.mark.parametrize("folders", [("files", "md5"), ("",)], ids=["version 3", "before"])
async def test_without_a_file_beside_it_the_cache_has_it_under_the_files_own_name(place, folders):
    cached(place, TABLE, *folders)
    found = await brought(place)
    assert [(file.path.read_bytes(), file.name) for file in found.files] == [(TABLE, "games.csv")]


async def test_a_working_folder_is_followed(place):
    (place / "raw").mkdir()
    (place / "raw" / "games.csv").write_bytes(TABLE)
    assert (await brought(place, f"wdir: raw\n{OUT}")).source["md5"] == MD5


async def test_a_link_into_the_cache_is_the_file(place):
    cached(place)
    (place / "games.csv").symlink_to(place.parent / ".dvc" / "cache" / "files" / "md5" / MD5[:2] / MD5[2:])
    assert (await brought(place)).files[0].name == "games.csv"


async def test_a_digest_of_digits_alone_is_a_digest(place):
    (place / "games.csv").write_bytes(TABLE)
    digits = OUT.replace(MD5, "1" * 30 + "e1").replace("1" * 30 + "e1", "12345678901234567890123456789012")
    assert (await refused(place, digits)).code == "E_DIGEST"


async def test_before_version_3_line_ends_did_not_count_in_the_digest(place):
    windows = TABLE.replace(b"\n", b"\r\n")
    (place / "games.csv").write_bytes(windows)
    old = f"outs:\n- md5: {MD5}\n  size: {len(windows)}\n  path: games.csv\n"
    assert (await brought(place, old)).files[0].size == len(windows)
    (place.parent.parent.parent / "scratch" / "document").unlink()
    (place.parent.parent.parent / "scratch" / "tracked").unlink()
    assert (await refused(place, old.replace("  path", "  hash: md5\n  path"))).code == "E_DIGEST"


@pytest.mark.parametrize("content", [TABLE + b"3,12\n", TABLE.replace(b"10", b"12"), TABLE[:-1]])
async def test_other_content_than_is_tracked_is_refused_wherever_it_is(place, content):
    cached(place, content)
    error = await refused(place)
    assert (error.code, "cache" in error.message) == ("E_DIGEST", True)
    (place.parent.parent.parent / "scratch" / "document").unlink()
    (place / "games.csv").write_bytes(content)
    error = await refused(place)
    assert (error.code, "beside" in error.message) == ("E_DIGEST", True)
    assert "dvc checkout" in error.hint


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("\n", "lists no file"),
        ("outs: []\n", "lists no file"),
        ("outs: [a]\n", "lists no file"),
        ("- 1\n", "lists no file"),
        (OUT + OUT.removeprefix("outs:\n"), "tracks 2 files"),
        (OUT.replace(MD5, f"{MD5}.dir"), "tracks a folder"),
        (OUT + "  nfiles: 3\n", "tracks a folder"),
        (OUT.replace("md5:", "etag:"), "the MD5"),
        (OUT.replace(MD5, "../../../../etc/passwd"), "the MD5"),
        (OUT.replace(MD5, MD5.upper()), "the MD5"),
        (OUT.replace("path: games.csv", "path: []"), "where the file is"),
        (OUT.replace("path: games.csv", "at: games.csv"), "where the file is"),
        (OUT.replace(f"size: {len(TABLE)}", "size: -1"), "isn't a number"),
        ("outs: [[[", "isn't YAML"),
        ("[" * 10_000, "isn't YAML"),
        (b"\xff\xfe", "isn't YAML"),
        ("outs: !!python/object/apply:os.system ['touch made']\n", "lists no file"),
        ("a: &a [*a]\nouts: *a\n", "isn't YAML"),
    ],
)
async def test_what_is_no_dvc_file_of_one_file_is_refused(place, document, said):
    (place / "games.csv").write_bytes(TABLE)
    error = await refused(place, document)
    assert error.code == "E_FORMAT"
    assert said in error.message
    assert error.hint


@pytest.mark.parametrize("path", ["../../../secret.csv", "{top}/secret.csv", "link.csv", ".", "..", "nothing.csv", "*"])
async def test_what_it_points_to_is_confined_as_every_path(place, path):
    top = place.parent.parent.parent
    (top / "secret.csv").write_bytes(TABLE)
    (place / "link.csv").symlink_to(top / "secret.csv")
    error = await refused(place, OUT.replace("games.csv", f'"{path.format(top=top)}"'))
    assert error.code == "E_PATH"


async def test_a_repository_around_the_allowed_folder_is_not_looked_into(place):
    top = place.parent.parent.parent
    folder = top / ".dvc" / "cache" / "files" / "md5" / MD5[:2]
    folder.mkdir(parents=True)
    (folder / MD5[2:]).write_bytes(TABLE)
    (place.parent / ".dvc").rmdir()
    assert (await refused(place)).code == "E_PATH"


async def test_the_size_of_what_is_tracked_is_bounded(place):
    (place / "games.csv").write_bytes(TABLE)
    assert (await refused(place, most_bytes=10)).code == "E_SIZE"
    (place.parent.parent.parent / "scratch" / "document").unlink()
    assert (await refused(place, OUT + "# " + "x" * 20_000)).code == "E_FORMAT"
