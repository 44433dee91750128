"""The wire takes strict, small JSON-RPC and says in our words why it refuses the rest."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import jsonrpc_message_adapter

from mcp_server.guard.wire import MAX_BYTES, MAX_DEPTH, MAX_ID, MAX_KEYS, WireError, check_message, parse

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
members = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"])
ids = st.text(max_size=MAX_ID) | st.integers(-(2**63), 2**63 - 1)


def call(**changes: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}} | changes)


def refused(raw: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        check_message(raw)
    return caught.value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_a_proper_request_comes_back_decoded() -> None:
    assert check_message(call()) == {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@given(values)
def test_every_proper_value_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert parse(raw) == json.loads(raw)


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_spaces_and_escapes_make_no_difference(value: Any, indent: Any, ascii_only: bool) -> None:
    raw = json.dumps({"k": value, 'a"b\\': value}, indent=indent, ensure_ascii=ascii_only, separators=(" ,", " : "))
    assert parse(raw.encode()) == json.loads(raw)


@given(st.dictionaries(st.text(max_size=5), values, min_size=1, max_size=5), st.data())
def test_a_key_that_comes_twice_is_refused_wherever_it_stands(fields: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(fields)))
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(key))
    members = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields.items()]
    members.insert(data.draw(st.integers(0, len(members))), f'"{escaped}" :{json.dumps(data.draw(values))}')
    body = "{" + ",".join(members) + "}"
    for _ in range(data.draw(st.integers(0, 3))):
        body = f'[{{"x":{body}}}]'
    with pytest.raises(WireError, match="same key twice"):
        parse(body.encode("utf-8", "surrogatepass"))


def _utf16(text: str) -> list[int]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2)]


@given(
    st.one_of(
        values, st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), values)
    )
)
def test_what_is_accepted_the_protocol_library_accepts_too(message: Any) -> None:
    if isinstance(message, dict) and "jsonrpc" in message:
        message["jsonrpc"] = "2.0"
    raw = orjson.dumps(message)
    try:
        check_message(raw)
    except WireError:
        return
    jsonrpc_message_adapter.validate_json(raw)


@given(st.binary(max_size=200))
def test_no_bytes_bring_anything_but_a_message_or_a_refusal(raw: bytes) -> None:
    try:
        outcome = check_message(raw)
    except WireError as error:
        outcome = orjson.loads(error.reply())
    assert outcome["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "nan", "+1", "0x10", "01", "1."]
)
def test_a_number_that_is_not_finite_or_not_json_is_refused(number: str) -> None:
    error = refused(b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"x":' + number.encode() + b"}}")
    assert (error.code, error.id) == (-32700, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{} {}",
        b'{"a":1,}',
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\x00"',
        b"'a'",
        b"// x\n1",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_strict_json_is_a_parse_error(raw: bytes) -> None:
    assert refused(raw).code == -32700


@pytest.mark.parametrize("raw", [b"[]", b"[{}]", b"1", b"null", b'"x"', b"true"])
def test_a_batch_or_a_scalar_is_an_invalid_request(raw: bytes) -> None:
    assert refused(raw).code == -32600


@pytest.mark.parametrize("value", [None, True, 1.0, 1.5, [], {}, 2**63, -(2**63) - 1, 10**40, "x" * (MAX_ID + 1)])
def test_an_id_that_is_no_short_text_or_64_bit_integer_is_refused(value: Any) -> None:
    raw = json.dumps({"jsonrpc": "2.0", "id": value, "method": "m"}).encode()
    assert refused(raw).code == -32600
    assert refused(raw).id is None


@given(ids)
def test_every_proper_id_is_accepted(value: Any) -> None:
    try:
        raw = orjson.dumps({"jsonrpc": "2.0", "id": value, "method": "m"})
    except TypeError:
        return  # a lone surrogate can't be sent
    assert check_message(raw)["id"] == value


@pytest.mark.parametrize(
    "changes",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2.0},
        {"method": 1},
        {"method": None},
        {"params": []},
        {"params": "x"},
    ],
)
def test_a_broken_envelope_is_answered_under_its_own_id(changes: dict[str, Any]) -> None:
    error = refused(call(id="mine", **changes))
    assert (error.code, error.id) == (-32600, "mine")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"id": 1},
        {"id": 1, "result": 5},
        {"id": None, "result": {}},
        {"result": {}},
        {"error": {"code": 1, "message": "x"}},
        {"id": 1, "error": {"code": 1.5, "message": "x"}},
        {"id": 1, "error": "x"},
    ],
)
def test_an_answer_that_answers_nothing_is_refused(message: dict[str, Any]) -> None:
    assert refused(orjson.dumps({"jsonrpc": "2.0"} | message)).code == -32600


@pytest.mark.parametrize(
    "message",
    [
        {"method": "notifications/initialized"},
        {"method": "m", "params": None},
        {"id": 1, "result": {}},
        {"id": None, "error": {"code": -1, "message": "x"}},
        {"id": "a", "error": {"code": -1, "message": "x", "data": [1]}},
    ],
)
def test_notifications_and_answers_pass(message: dict[str, Any]) -> None:
    assert check_message(orjson.dumps({"jsonrpc": "2.0"} | message))


def test_the_deepest_allowed_nesting_passes() -> None:
    assert parse(nested(MAX_DEPTH)) is not None


def test_one_level_more_is_refused() -> None:
    with pytest.raises(WireError, match="nested"):
        parse(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_absurd_nesting_is_refused_whatever_its_shape(depth: int) -> None:
    assert refused(b'{"a":' * depth + b"1" + b"}" * depth).code in (-32600, -32700)


def test_brackets_in_strings_are_not_nesting() -> None:
    assert parse(orjson.dumps(["[" * 500, "{\\" * 500, '"' * 3 + "]"]))


def test_the_most_keys_pass() -> None:
    assert parse(orjson.dumps({str(place): ":" for place in range(MAX_KEYS)}))


def test_one_key_more_is_refused() -> None:
    with pytest.raises(WireError, match="keys"):
        parse(orjson.dumps({str(place): 0 for place in range(MAX_KEYS + 1)}))


def test_the_largest_message_passes() -> None:
    empty = call(params={"x": ""})
    assert check_message(call(params={"x": "a" * (MAX_BYTES - len(empty))}))


def test_one_byte_more_is_refused() -> None:
    empty = call(params={"x": ""})
    assert refused(call(params={"x": "a" * (MAX_BYTES + 1 - len(empty))})).code == -32700


def test_a_flood_of_tiny_values_is_refused() -> None:
    assert "values" in refused(call(params={"x": [0] * 300_000})).message


def test_a_key_twice_is_answered_under_the_id_unless_the_id_is_in_doubt() -> None:
    assert refused(b'{"jsonrpc":"2.0","id":3,"method":"m","params":{"x":1,"x":2}}').id == 3
    assert refused(b'{"jsonrpc":"2.0","id":3,"id":4,"method":"m"}').id is None


def test_a_refusal_repeats_nothing_of_the_input() -> None:
    for raw in (b'{"hunter2":NaN}', b'{"hunter2":1,"hunter2":1}', b'{"jsonrpc":"hunter2","id":1,"method":"x"}'):
        assert b"hunter2" not in refused(raw).reply()
