"""Messages between parent and child."""

import os
import struct

import pytest

from mcp_server.jobs import frames


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_message_comes_out_as_it_went_in(pipe):
    frames.write(pipe[1], {"text": "é\u2028\x00", "numbers": [1, -0.5, 2**53], "none": None})
    assert frames.read(pipe[0]) == {"text": "é\u2028\x00", "numbers": [1, -0.5, 2**53], "none": None}


def test_the_end_of_the_pipe_is_no_message(pipe):
    os.close(pipe[1])
    assert frames.read(pipe[0]) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object()])
def test_what_is_not_finite_json_is_not_sent(value):
    with pytest.raises(frames.BadFrame):
        frames.encode({"value": value})


@pytest.mark.parametrize(
    "received",
    [
        struct.pack(">I", frames.LARGEST + 1),
        struct.pack(">I", 5) + b"12",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 11) + b'{"a": NaN }',
        struct.pack(">I", 3) + b"\xff\xfe{",
        b"\x00\x00",
    ],
)
def test_what_is_not_a_message_is_refused(pipe, received):
    os.write(pipe[1], received)
    os.close(pipe[1])
    with pytest.raises(frames.BadFrame):
        frames.read(pipe[0])


def test_a_message_over_the_bound_is_not_sent(monkeypatch):
    monkeypatch.setattr(frames, "LARGEST", 100)
    with pytest.raises(frames.BadFrame):
        frames.encode({"text": "x" * 100})
