import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.storage.ids import _written, new_ids


@given(st.binary(min_size=24, max_size=24))
def test_an_id_is_written_in_base_32_with_the_extended_hex_alphabet(content):
    assert _written(content) == base64.b32hexencode(content).decode().rstrip("=").lower()


@given(st.binary(min_size=24, max_size=24), st.binary(min_size=24, max_size=24))
def test_ids_sort_as_their_bytes_do(one, other):
    assert (_written(one) < _written(other)) is (one < other)


def test_ten_thousand_ids_ascend_and_none_comes_twice():
    made = new_ids("p", 10_000, datetime(2026, 1, 1, tzinfo=UTC))
    assert sorted(set(made)) == made


def test_ids_of_one_moment_cannot_be_guessed_from_each_other():
    made = new_ids("p", 2, datetime(2026, 1, 1, tzinfo=UTC))
    common = next(index for index, (one, other) in enumerate(zip(*made, strict=True)) if one != other)
    assert len(made[0]) - common >= 24, "128 random bits follow the time and the counter"
