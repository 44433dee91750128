"""Names and references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.names import PATTERN, check_name, fold_name, parse_reference, reference, suggest_name
from mcp_server.errors import DataRejected

names = st.from_regex(PATTERN, fullmatch=True).filter(lambda name: suggest_name(name) == name)


@given(names)
def test_a_plain_name_passes_unchanged(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "../x", "..%2f", "..\\", "/etc/passwd", "a\0b", "a\nb", "a" * 65, "é" * 255),
        *("CON", "nul", "COM1.txt", "a.", "-rf", "--help", ".hidden", "_a", "🏀", "a\u202eb", "~", "$HOME", "`id`"),
        *("g@mes", "a b", "a/b", "a:b", "a\n", "ａbc", "１"),
    ],
)
def test_what_a_file_system_a_shell_or_a_reader_could_take_otherwise_is_refused(text: str) -> None:
    with pytest.raises(DataRejected) as refused:
        check_name(text)
    assert refused.value.code == "E_NAME"
    assert "Use 1 to 64" in refused.value.hint


@pytest.mark.parametrize("letter", "аеорсухіјѕԁԛԝһοΑΒΕΗΙΚΜΝΟΡΤΧｂℎ𝐚ⅼ⁰①")
def test_a_letter_that_looks_like_another_is_refused(letter: str) -> None:
    with pytest.raises(DataRejected, match="look"):
        check_name(f"m{letter}del")


@given(st.text(max_size=100).filter(lambda text: suggest_name(text) != text))
def test_a_refusal_never_repeats_the_text_and_its_suggestion_passes(text: str) -> None:
    with pytest.raises(DataRejected) as refused:
        check_name(text)
    near = suggest_name(text)
    assert near is None or (near in refused.value.hint and check_name(near) == near)
    assert (refused.value.message + refused.value.hint).isascii()


def test_a_file_name_suggests_a_name() -> None:
    assert suggest_name("NBA games – Saison d'été.csv") == "NBA-games-Saison-d-ete.csv"


def test_case_twins_fold_alike() -> None:
    assert fold_name("Games") == fold_name("gAMES")


@given(names, st.integers(1, 999_999_999))
def test_a_reference_reads_back(name: str, version: int) -> None:
    assert parse_reference(reference(name, version)) == (name, version)


@given(names)
def test_a_name_alone_names_no_version(name: str) -> None:
    assert parse_reference(name) == (name, None)


@pytest.mark.parametrize(
    "text", ["games@", "games@0", "games@-1", "games@x", "games@1.0", "games@٣", "games@1@2", "@1"]
)
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(DataRejected):
        parse_reference(text)
