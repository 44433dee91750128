import hashlib
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from mcp_server.errors import DataRejected
from mcp_server.workflows.files import MOST_FILES, copy_allowed, locate

CONTENT = b"a,b\n1,2\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An allowed folder with a file, beside a folder that isn't allowed."""
    allowed = tmp_path / "allowed"
    (allowed / "inner").mkdir(parents=True)
    (allowed / "games.csv").write_bytes(CONTENT)
    (allowed / "inner" / "games.csv").write_bytes(CONTENT)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.csv").write_bytes(b"secret\n1\n")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "twin.csv").write_bytes(CONTENT)
    return allowed


def copy(place: Path, text: str, *, most: int = 1_000_000):
    shutil.rmtree(place.parent / "copies", ignore_errors=True)
    (place.parent / "copies").mkdir()
    return copy_allowed(text, [place], place.parent / "copies", most_bytes=most)


def refused(place: Path, text: str, **options: int) -> DataRejected:
    with pytest.raises(DataRejected) as caught:
        copy(place, text, **options)
    assert not list((place.parent / "copies").iterdir()), "nothing is left behind"
    return caught.value


@pytest.mark.parametrize("text", ["games.csv", "inner/games.csv", "inner/../games.csv", "./games.csv"])
def test_a_file_in_an_allowed_folder_is_copied_and_hashed(place, text):
    [copied] = copy(place, text)
    assert copied.path.read_bytes() == CONTENT
    assert (copied.digest, copied.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert copied.name == "games.csv"


def test_an_absolute_path_is_welcome_inside_an_allowed_folder(place):
    assert copy(place, str(place / "games.csv"))[0].size == len(CONTENT)


def test_a_link_that_stays_inside_leads_to_its_file(place):
    (place / "link.csv").symlink_to(place / "inner" / "games.csv")
    assert copy(place, "link.csv")[0].name == "games.csv"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../outside/secret.csv",
        "inner/../../outside/secret.csv",
        "..",
        "/",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "~/.ssh/id_rsa",
        "$HOME/x.csv",
        "games.csv\0.png",
        "\0",
        "..%2foutside%2fsecret.csv",
        "..\\outside\\secret.csv",
        "file:///etc/passwd",
        "//host/share/x.csv",
        "-rf",
        "--help",
        "x" * 5_000,
        "a/" * 3_000,
        "../allowed-not/twin.csv",
        "\ud800.csv",
    ],
)
def test_every_other_path_is_refused_alike(place, text):
    error = refused(place, text)
    assert error.code == "E_PATH"
    assert str(place) in error.hint, "the next step names the allowed folders"


def test_a_link_that_leads_outside_is_refused(place):
    (place / "link.csv").symlink_to(place.parent / "outside" / "secret.csv")
    (place / "folder").symlink_to(place.parent / "outside")
    assert refused(place, "link.csv").code == "E_PATH"
    assert refused(place, "folder/secret.csv").code == "E_PATH"


def test_a_refusal_does_not_tell_what_exists_elsewhere(place):
    there = refused(place, str(place.parent / "outside" / "secret.csv"))
    absent = refused(place, str(place.parent / "outside" / "nothing.csv"))
    assert there.message == absent.message


def test_pipes_and_sockets_are_not_files(place):
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "socket"))
        for name in ("pipe", "socket"):
            assert refused(place, name).code == "E_PATH"


def test_an_empty_and_an_oversized_file_are_refused_by_their_size(place):
    (place / "empty.csv").write_bytes(b"")
    assert refused(place, "empty.csv").code == "E_EMPTY"
    assert refused(place, "games.csv", most=len(CONTENT) - 1).code == "E_SIZE"
    assert copy(place, "games.csv", most=len(CONTENT))[0].size == len(CONTENT)


def test_a_file_that_grows_while_it_is_read_is_refused(place):
    big = place / "big.csv"
    big.write_bytes(b"x" * 3_000_000)

    def grow(fraction: float, message: str) -> None:
        with big.open("ab") as out:
            out.write(b"more")

    with pytest.raises(DataRejected) as caught:
        copy_allowed("big.csv", [place], place.parent, most_bytes=10_000_000, report=grow)
    assert caught.value.code == "E_CHANGED"
    assert not (place.parent / "0").exists()


def test_a_link_swapped_in_during_the_race_never_gives_the_secret(place):
    """Between the check and the opening a file becomes a link, thousands of times."""
    real, target, stop = place / "race.csv", place.parent / "outside" / "secret.csv", threading.Event()
    real.write_bytes(CONTENT)

    def swap() -> None:
        spare = place / "spare"
        while not stop.is_set():
            spare.unlink(missing_ok=True)
            spare.symlink_to(target)
            os.replace(spare, real)
            spare.write_bytes(CONTENT)
            os.replace(spare, real)

    thread = threading.Thread(target=swap)
    thread.start()
    read = 0
    try:
        for _ in range(2_000):
            try:
                [copied] = copy(place, "race.csv")
            except DataRejected:
                continue
            assert copied.path.read_bytes() == CONTENT
            copied.path.unlink()
            read += 1
    finally:
        stop.set()
        thread.join()
    assert read > 0, "the race was won by the reader at least once"


@pytest.fixture
def seasons(place: Path) -> Path:
    folder = place / "seasons"
    folder.mkdir()
    for name in ("season-2.csv", "season-1.csv", "notes.txt", ".hidden.csv"):
        (folder / name).write_bytes(name.encode())
    (folder / "season-3.csv").mkdir()
    return place


def test_a_folder_is_its_plain_files_in_the_order_of_their_names(seasons):
    copied = copy(seasons, "seasons")
    assert [one.name for one in copied] == ["notes.txt", "season-1.csv", "season-2.csv"]
    assert [one.path.read_bytes().decode() for one in copied] == [one.name for one in copied]


@pytest.mark.parametrize("text", ["seasons/season-*.csv", "inner/../seasons/season-[12].csv", "seasons/season-?.csv"])
def test_a_pattern_is_the_files_that_it_fits(seasons, text):
    assert [one.name for one in copy(seasons, text)] == ["season-1.csv", "season-2.csv"]
    assert len(copy(seasons, str(seasons / text))) == 2


def test_a_pattern_may_stand_in_an_allowed_folder_itself(seasons):
    assert [one.name for one in copy(seasons, "g*.csv")] == ["games.csv"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(place):
    (place / "a[1].csv").write_bytes(b"x")
    (place / "a1.csv").write_bytes(b"y")
    assert [one.name for one in copy(place, "a[1].csv")] == ["a[1].csv"]


@pytest.mark.parametrize("text", ["../outside/*.csv", "seasons/*.json", "/etc/*", "*/games.csv", "..*/*", "/*"])
def test_a_pattern_reaches_nothing_else(seasons, text):
    assert refused(seasons, text).code == "E_PATH"


def test_a_link_or_a_pipe_among_the_files_is_refused_by_name(seasons):
    (seasons / "seasons" / "season-0.csv").symlink_to(seasons.parent / "outside" / "secret.csv")
    error = refused(seasons, "seasons/season-*")
    assert (error.code, error.details) == ("E_PATH", {"file": 1})
    assert "season-0.csv" in error.message
    (seasons / "seasons" / "season-0.csv").unlink()
    os.mkfifo(seasons / "seasons" / "season-9.csv")
    error = refused(seasons, "seasons/season-*")
    assert (error.code, error.details) == ("E_PATH", {"file": 3})


def test_files_count_together_against_the_limit_on_bytes(seasons):
    assert len(copy(seasons, "seasons/season-*", most=24)) == 2
    assert refused(seasons, "seasons/season-*", most=23).code == "E_SIZE"


def test_one_file_more_than_the_limit_is_refused(place):
    (place / "many").mkdir()
    for number in range(MOST_FILES + 1):
        (place / "many" / f"{number:04}.csv").write_bytes(b"x")
    assert refused(place, "many").code == "E_PATH"
    (place / "many" / "0000.csv").unlink()
    assert len(copy(place, "many/*.csv")) == MOST_FILES


def test_no_folder_allowed_means_no_file(place):
    with pytest.raises(DataRejected, match="can't be used"):
        locate("games.csv", [])


def test_the_allowed_folder_itself_is_a_folder(seasons):
    assert len(copy(seasons, ".")) == len([path for path in seasons.iterdir() if path.is_file()])
