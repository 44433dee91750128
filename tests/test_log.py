"""Log lines: JSON, without secrets or personal data, whatever is logged and however."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import log

SECRETS = (
    "erika.mustermann@example.org",
    "o'neil+tag@mail.example.co.uk",
    "müller@bücher.example",
    "bob%40example.org",
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "3782 822463 10005",
    "6011000990139424",
    "+49 30 1234567",
    "+1 (555) 123-4567",
    "(555) 123-4567",
    "555-123-4567",
    "+442071838750",
    "0171 2345678",
    "00493012345678",
    "078-05-1120",
    "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19",
    "FR1420041010050500013M02606",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "glpat-abcdefghij0123456789",
    "xoxb-" + "123456789012-abcdefghijkl",
    "sk-ant-" + "abcdefghijklmnop0123456789",
    "sk_live_abcdefghijklmnop0123",
    "pypi-AgEIcHlwaS5vcmcCJGFiY2RlZg",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
    "registered-secret-4711",
    "another/registered secret?",
    "another%2Fregistered%20secret%3F",
)
LABELLED = (
    ("password=", "hunter2"),
    ("password: ", "'two words'"),
    ('"password": ', '"hunter3"'),
    ("passwd=", "hunter4"),
    ("pwd=", "hunter5"),
    ("passphrase=", "correct-horse"),
    ("api_key=", "abcd1234"),
    ("api-key: ", "abcd1235"),
    ("client_secret=", "s3cr3t"),
    ("aws_secret_access_key=", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("access_token=", "tok-123"),
    ("refresh-token=", "tok-124"),
    ("private_key=", "0xdeadbeef"),
    ("Authorization: ", "Digest username=x, response=abcdef"),
    ("Proxy-Authorization: Basic ", "dXNlcjpwYXNz"),
    ("Bearer ", "abcdef0123456789"),
    ("bearer ", "zyxwvu987654"),
    ("Cookie: ", "session=abc; theme=dark"),
    ("Set-Cookie: ", "sid=31d4d96e407aad42; Path=/"),
    ("postgresql://user:", "p%40ss"),
    ("redis://:", "r3dis@pass"),
    ("first_name=", "Erika"),
    ("customer_name='", "Erika Mustermann"),
    ("surname", ": Mustermann"),
    ("full_name: ", "Max Meier"),
    ("last-name=", "Huber"),
    ("-----BEGIN " + "PRIVATE KEY-----\n", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"),
    ("-----BEGIN " + "RSA PRIVATE KEY-----\n", "MIIEpAIBAAKCAQEA\nq8Zk1vT0"),
)
CANARIES = [("", secret) for secret in SECRETS] + list(LABELLED[:23]) + list(LABELLED[24:])


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    log.register_secret("registered-secret-4711")
    log.register_secret("another/registered secret?")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    log.configure("INFO", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def whole(label: str, secret: str) -> str:
    ending = "@db.example/x" if "://" in label else "'" if label.endswith("'") else ""
    return f"{label}{secret}{ending}"


def test_there_are_at_least_sixty_canaries() -> None:
    assert len(CANARIES) >= 60


@pytest.mark.parametrize(("label", "secret"), CANARIES)
def test_a_canary_is_in_no_line_however_it_gets_there(stream: io.StringIO, label: str, secret: str) -> None:
    text = whole(label, secret)
    logger = log.get("test")
    logger.info(f"event with {text} inside")
    logger.info("event", value=text)
    logger.info("event", nested={"list": [text, (text,)], text: 1})
    with log.bound(request=text):
        logger.info("event")
    logging.getLogger("library").warning("record of %s", text)
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"while handling {text}") from error
    except RuntimeError:
        logger.exception("failed")
        logging.getLogger("library").exception("failed")
    assert len(lines(stream)) == 7
    shown = stream.getvalue()
    for part in secret.strip("'\"").splitlines():
        assert json.dumps(part)[1:-1] not in shown


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "api_key",
        "Authorization",
        "cookie",
        "access_token",
        "customer_name",
        "email",
        "phone",
        "card_number",
        "iban",
        "dsn",
    ],
)
@pytest.mark.parametrize("value", ["plain words", 41_111_111, ["a", "b"], {"a": "b"}, b"bytes"])
def test_a_field_whose_name_says_secret_is_hidden_whole(stream: io.StringIO, name: str, value: Any) -> None:
    log.get("test").info("event", **{name: value})
    assert lines(stream)[0][name] == log.REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "call",
        "tools/call",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "2026-11-23T14:47:19.728+00:00",
        "127.0.0.1:8410",
        "games@3",
        "took 0.1234567890123456 s",
        "rows 1,000,000 of 5,000,000",
        "version 2.3.0, Python 3.11.7",
        "seasons 1985-2010",
        "tools/list costs tokens",
        "a key is required",
        "1234567890123",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert log.redact(text) == text


@given(st.text(), st.sampled_from(CANARIES), st.text())
def test_nothing_around_a_canary_makes_redacting_fail(before: str, canary: tuple[str, str], after: str) -> None:
    assert isinstance(log.redact(before + whole(*canary) + after), str)


def test_a_line_has_time_level_event_logger_and_context(stream: io.StringIO) -> None:
    with log.bound(request="r1", caller="local", tool="predict"):
        log.get("courtside.call").info("call", outcome="ok", duration_ms=1.5)
    line = lines(stream)[0]
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "call",
        "logger": "courtside.call",
        "request": "r1",
        "caller": "local",
        "tool": "predict",
        "outcome": "ok",
        "duration_ms": 1.5,
    }


def test_context_follows_tasks_and_ends(stream: io.StringIO) -> None:
    async def task() -> None:
        log.get("test").info("inside")

    async def main() -> None:
        with log.bound(request="r1"):
            await asyncio.create_task(task())
        log.get("test").info("outside")

    asyncio.run(main())
    assert [line.get("request") for line in lines(stream)] == ["r1", None]


def test_the_standard_library_s_records_and_warnings_go_the_same_way(stream: io.StringIO) -> None:
    with log.bound(request="r1"):
        logging.getLogger("some.library").error("broke: %d", 5)
    warnings.warn("careful", stacklevel=1)
    first, second = lines(stream)
    assert (first["logger"], first["level"], first["event"], first["request"]) == (
        "some.library",
        "error",
        "broke: 5",
        "r1",
    )
    assert second["logger"] == "py.warnings"


def test_a_library_s_chatter_is_left_out(stream: io.StringIO) -> None:
    logging.getLogger("mcp.server").info("Processing request")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    assert lines(stream) == []


def test_debug_adds_timings_and_still_redacts() -> None:
    stream = io.StringIO()
    log.configure("ERROR", debug=True, stream=stream)
    log.get("test").debug("password=hunter2")
    logging.getLogger("mcp.server").debug("mail to a@example.org")
    assert all(line["elapsed_ms"] >= 0 for line in lines(stream))
    assert len(lines(stream)) == 2
    assert "hunter2" not in stream.getvalue()
    assert "example.org" not in stream.getvalue()


def test_a_traceback_is_plain_bounded_and_without_local_variables(stream: io.StringIO) -> None:
    def deep(level: int) -> None:
        unlogged = "local-canary"
        if level:
            deep(level - 1)
        raise ValueError("x" * 100_000 + unlogged[:0])

    try:
        deep(300)
    except ValueError:
        log.get("test").exception("failed")
    trace = lines(stream)[0]["traceback"]
    assert len(trace) <= log.MAX_TRACEBACK
    assert "\x1b" not in stream.getvalue()
    assert "local-canary" not in trace.replace('unlogged = "local-canary"', "")


def test_no_value_can_break_a_line(stream: io.StringIO) -> None:
    logger = log.get("test")
    recursive: list[Any] = []
    recursive.append(recursive)
    values: list[Any] = [Broken(), float("nan"), 2**100, recursive, b"\xff", {1: {2: 3}}, object, "\ud800", {"a"}]
    for value in values:
        logger.info("event", value=value)
    assert len(lines(stream)) == len(values)


def test_a_record_with_the_wrong_arguments_is_still_a_line(stream: io.StringIO) -> None:
    ours = logging.getLogger().handlers[0]
    ours.handle(logging.makeLogRecord({"msg": "%d and %d", "args": ("not a number",)}))
    assert lines(stream)[0]["event"] == "%d and %d"


def test_a_line_is_ascii_and_one_line(stream: io.StringIO) -> None:
    log.get("test").info('forged\n{"level":"info"}\u2028\u202e\x1b[31m\x9b é')
    assert stream.getvalue().isascii()
    assert len(stream.getvalue().splitlines()) == 1


def test_a_long_value_is_cut(stream: io.StringIO) -> None:
    log.get("test").info("event", value="word " * 1_000_000, many=list(range(10_000)))
    assert len(stream.getvalue()) <= 4_000


def test_a_reader_who_is_not_there_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        log.configure("INFO", stream=stream)
        for place in range(3_000):
            log.get("test").info("event", place=place, filler="word " * 30)
        with os.fdopen(reading, "rb") as reader:
            os.set_blocking(reading, False)
            kept = reader.read().count(b"\n")
            log.get("test").info("read again")
            told = [json.loads(line) for line in reader.read().splitlines() if line.startswith(b"{")]
    assert told[0]["event"] == "log lines dropped"
    assert told[0]["count"] + kept in (3_000, 3_001)  # the line that filled the pipe may be torn
    assert told[1]["event"] == "read again"


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    log.configure("INFO", stream=stream)
    stream.close()
    log.get("test").info("event")


def test_an_uncaught_error_is_a_redacted_line(stream: io.StringIO) -> None:
    thread = threading.Thread(target=lambda: int("password=hunter2"), name="worker")
    thread.start()
    thread.join()
    line = lines(stream)[0]
    assert (line["event"], line["level"]) == ("uncaught error", "critical")
    assert "hunter2" not in stream.getvalue()


def test_configuring_twice_writes_once(stream: io.StringIO) -> None:
    log.configure("INFO", stream=stream)
    logging.getLogger("library").warning("once")
    assert len(lines(stream)) == 1


def test_a_hidden_module_is_absent_inside_and_there_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with log.hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
