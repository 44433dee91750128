"""The canonical form of JSON values and their digests."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.canonical import canonical_bytes, digest
from mcp_server.errors import InvalidInput

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé🙂", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def test_the_form_of_a_worked_example() -> None:
    assert canonical_bytes({"z": 1e16, "a": [True, None, 0.1], "é": -0.0}) == (
        '{"a":[true,null,0.1],"z":1e+16,"é":-0.0}'.encode()
    )


def test_the_digest_of_an_empty_object_is_that_of_its_two_bytes() -> None:
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(values)
def test_reading_back_gives_the_same_value_and_the_same_bytes(value: Any) -> None:
    written = canonical_bytes(value)
    read = json.loads(written)
    assert read == value
    assert canonical_bytes(read) == written


@given(st.dictionaries(st.text("abcé🙂", max_size=4), scalars, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert digest({key: value[key] for key in keys}) == digest(value)


def test_a_tuple_is_a_list() -> None:
    assert digest((1, (2, 3))) == digest([1, [2, 3]])


def test_an_integer_and_the_equal_float_differ() -> None:
    assert digest(1) != digest(1.0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(InvalidInput, match="infinite or not a number"):
        canonical_bytes({"a": [number]})


@pytest.mark.parametrize("key", [1, None, True, 1.5])
def test_keys_that_json_would_turn_into_text_are_refused(key: object) -> None:
    with pytest.raises(InvalidInput, match="isn't text"):
        canonical_bytes({key: 1})


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), 1j])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="can't be written"):
        canonical_bytes([value])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        canonical_bytes("\ud800")


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    with pytest.raises(InvalidInput, match="deep"):
        canonical_bytes(value)
