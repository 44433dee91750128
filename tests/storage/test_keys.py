"""The installation's keys."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import BadConfiguration, CorruptArtefact
from mcp_server.storage.keys import Keys
from mcp_server.storage.private_files import create_once
from storage.rounds import start

KEYS = Keys(data=b"d" * 32, signing=b"s" * 32, hashing=b"h" * 32)
PLACE = {"table": "predictions", "column": "features", "row": "p_1"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


@given(st.binary(max_size=200))
def test_what_is_encrypted_opens_again(content: bytes) -> None:
    sealed = KEYS.encrypt(content, **PLACE)
    assert KEYS.decrypt(sealed, **PLACE) == content
    assert len(sealed) == len(content) + 33


@given(st.binary(min_size=8, max_size=50))
def test_what_is_encrypted_shows_nothing_of_it(content: bytes) -> None:
    assert content not in KEYS.encrypt(content, **PLACE)
    assert KEYS.encrypt(content, **PLACE) != KEYS.encrypt(content, **PLACE)


@pytest.mark.parametrize("changed", [{"table": "audit"}, {"column": "answer"}, {"row": "p_2"}])
def test_a_value_moved_to_another_place_does_not_open(changed: dict[str, str]) -> None:
    with pytest.raises(CorruptArtefact, match="moved"):
        KEYS.decrypt(KEYS.encrypt(b"value", **PLACE), **{**PLACE, **changed})


@given(st.integers(1, 37), st.integers(0, 7))
def test_a_value_with_one_bit_changed_does_not_open(position: int, bit: int) -> None:
    sealed = bytearray(KEYS.encrypt(b"value", **PLACE))
    sealed[position] ^= 1 << bit
    with pytest.raises(CorruptArtefact):
        KEYS.decrypt(bytes(sealed), **PLACE)


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32])
def test_a_value_that_was_cut_does_not_open(length: int) -> None:
    with pytest.raises(CorruptArtefact):
        KEYS.decrypt(KEYS.encrypt(b"value", **PLACE)[:length], **PLACE)


def test_another_key_is_told_apart_from_damage() -> None:
    other = Keys(data=b"e" * 32, signing=b"s" * 32, hashing=b"h" * 32)
    with pytest.raises(CorruptArtefact, match="another key"):
        other.decrypt(KEYS.encrypt(b"value", **PLACE), **PLACE)


def test_a_signature_fits_its_bytes_and_its_key_alone() -> None:
    signature = KEYS.sign(b"manifest")
    other = Keys(data=b"d" * 32, signing=b"t" * 32, hashing=b"h" * 32)
    assert KEYS.verify(b"manifest", signature)
    assert other.verify(b"manifest", signature, KEYS.public_key)
    assert not KEYS.verify(b"manifest.", signature)
    assert not other.verify(b"manifest", signature)
    assert not KEYS.verify(b"manifest", signature[:-1])
    assert not KEYS.verify(b"manifest", signature, b"short")
    assert KEYS.public_key_id != other.public_key_id


def test_a_signature_is_the_one_of_rfc_8032() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    keys = Keys(data=b"d" * 32, signing=secret, hashing=b"h" * 32)
    assert keys.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert keys.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_a_pseudonym_keeps_equal_values_equal_and_hides_them() -> None:
    one = KEYS.pseudonym("email", "ada@example.org")
    assert one == KEYS.pseudonym("email", "ada@example.org")
    assert one != KEYS.pseudonym("contact", "ada@example.org")
    assert one != KEYS.pseudonym("email", "bob@example.org")
    assert one != Keys(data=b"d" * 32, signing=b"s" * 32, hashing=b"i" * 32).pseudonym("email", "ada@example.org")
    assert KEYS.pseudonym("id", 1) != KEYS.pseudonym("id", "1")
    assert len(one) == 37
    assert "ada" not in one


def test_what_a_check_draws_with_is_the_same_each_time_and_another_elsewhere() -> None:
    other = Keys(data=b"d" * 32, signing=b"s" * 32, hashing=b"i" * 32)
    assert KEYS.checking_seed("sha256:1") == KEYS.checking_seed("sha256:1")
    assert len({KEYS.checking_seed("sha256:1"), KEYS.checking_seed("sha256:2"), other.checking_seed("sha256:1")}) == 3


def test_keys_do_not_show_themselves() -> None:
    assert repr(KEYS) == "Keys(...)"


@posix
def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first, second = Keys.open(folder), Keys.open(folder)
    assert second.decrypt(first.encrypt(b"value", **PLACE), **PLACE) == b"value"
    assert first.public_key == second.public_key
    assert first.pseudonym("a", 1) == second.pseudonym("a", 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "data.key": 0o600,
        "signing.key": 0o600,
        "hashing.key": 0o600,
    }
    assert len({path.read_bytes() for path in folder.iterdir()}) == 3


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    Keys.open(tmp_path / "keys")
    (tmp_path / "keys" / "data.key").chmod(mode)
    with pytest.raises(BadConfiguration, match="read by others") as refused:
        Keys.open(tmp_path / "keys")
    assert "chmod 600" in refused.value.hint


@posix
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    Keys.open(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o750)
    with pytest.raises(BadConfiguration, match="read by others"):
        Keys.open(tmp_path / "keys")


@posix
def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    create_once(tmp_path / "elsewhere", b"x" * 32)
    (tmp_path / "keys" / "data.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadConfiguration, match="link"):
        Keys.open(tmp_path / "keys")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    Keys.open(tmp_path / "keys")
    (tmp_path / "keys" / "signing.key").write_bytes(b"x" * length)
    with pytest.raises(BadConfiguration, match="damaged"):
        Keys.open(tmp_path / "keys")


def test_a_file_is_created_once_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_once(path, b"first")
    assert not create_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.fault
def test_processes_that_start_at_once_get_the_same_keys(tmp_path: Path) -> None:
    openers = [start("opening_process.py", "keys", str(tmp_path / "data")) for _ in range(6)]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    ids = [opener.communicate()[0] for opener in openers]
    assert len(ids[0]) > 16
    assert set(ids) == {ids[0]}
    assert len(os.listdir(tmp_path / "data" / "keys")) == 3
