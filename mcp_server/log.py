"""Structured logs: one JSON line for each event on standard error, without secrets or personal data.

Our own loggers and the standard library's go through the same pipeline: context, time, plain traceback, redaction, JSON
in ASCII. A log line never raises and never waits: where nobody reads standard error, lines are dropped and counted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import quote

import orjson

from mcp_server.context import SystemClock


@contextmanager
def hidden(module: str) -> Iterator[None]:
    """Make an optional dependency look absent to what is imported or built inside.

    For `rich`: structlog and the protocol library import it where it's installed, for consoles that a server hasn't.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


with hidden("rich"):  # a quarter of structlog's import time without it
    import structlog

MAX_TRACEBACK = 8_000
MAX_VALUE = 2_000
MOST_ITEMS = 50
REDACTED = "[redacted]"
PATIENCE_MS = 50
"""How long a line that has begun may wait for a reader before its rest is dropped."""

_SHORTEST_SECRET = 6
_QUIET = (
    "mcp",
    "httpx",
    "httpx2",
    "httpcore",
    "sqlalchemy",
    "aiosqlite",
    "alembic",
    "dbos",
    "asyncio",
    "uvicorn.access",
)
_CLOCK = SystemClock()

_PERSON = r"(?:first|last|full|sur|given|family|maiden|customer|patient|person)[_-]?name"
_CREDENTIAL = r"pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|private[_-]?key|credential"
_SENSITIVE_NAME = re.compile(
    rf"{_CREDENTIAL}|{_PERSON}|authori[sz]ation|cookie|dsn|e[_-]?mail|phone|iban|ssn|card[_-]?n|birth", re.IGNORECASE
)
# The ordinary words and ids of our own lines, in which no pattern below can match.
_PLAIN = re.compile(r"(?:[a-z_./-]{0,18}|(?=\d*[a-f])[\da-f]{8,64})\Z")
# Cheap to look for, and in every text that one of the patterns below could match.
_SUSPECT = re.compile(
    r"@|%40|://|eyJ|\d[\d ()/.-]{6,}|[A-Z]{2}\d\d ?[A-Z\d]{4}|A[A-Z]{3}[A-Z\d]{16}|AIza|xox[a-z]-|sk[-_]|pypi-|glpat-"
    r"|gh[a-z]_|github_|-----BEGIN|(?i:bearer|basic |pass|pwd|secret|token|key|credential|name|authori|cookie)"
)


def _labelled(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{REDACTED}"


def _card(found: re.Match[str]) -> str:
    digits = [int(character) for character in found[0] if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return REDACTED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else found[0]


def _iban(found: re.Match[str]) -> str:
    compact = found[0].replace(" ", "")
    number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return REDACTED if int(number) % 97 == 1 else found[0]


_RULES: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"\b((?:proxy-)?authori[sz]ation|(?:set-)?cookie)(['\"]?\s{0,8}[:=]).+", re.IGNORECASE), _labelled),
    (re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE), _labelled),
    (re.compile(r"\b(?:eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|A[A-Z]{3}[A-Z\d]{16}\b|AIza[\w-]{35})"), REDACTED),
    (re.compile(r"\b(?:gh[a-z]_|github_pat_|xox[a-z]-|sk[-_]|pypi-|glpat-)[\w-]{16,}"), REDACTED),
    (re.compile(r"\b([a-z][a-z\d+.-]{0,30}://[^\s:/@]{0,256})(:)[^\s\"'<>]{1,512}(?=@)", re.IGNORECASE), _labelled),
    (
        re.compile(
            rf"((?:{_CREDENTIAL})[\w-]{{0,40}})(['\"]?\s{{0,8}}[=:]\s{{0,8}})(?:\"[^\"]*\"|'[^']*'|[^\s,;&)}}\]]+)",
            re.I,
        ),
        _labelled,
    ),
    (
        re.compile(rf"({_PERSON})(['\"]?\s{{0,8}}[=:]\s{{0,8}})(?:\"[^\"]*\"|'[^']*'|[^,;&)}}\]\n]+)", re.IGNORECASE),
        _labelled,
    ),
    (re.compile(r"[\w.+'-]{1,64}(?:@|%40)(?:[\w-]{1,63}\.){1,8}[^\W\d]{2,24}"), REDACTED),
    (re.compile(r"\b[A-Z]{2}\d\d(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?\b"), _iban),
    (
        re.compile(
            r"(?<![A-Za-z\d.])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5})(?![A-Za-z\d])"
        ),
        _card,
    ),
    (
        re.compile(
            r"(?<![\w.])(?:\+\d{1,3}[\s./-]?(?:\(0?\d{1,5}\)[\s./-]?)?\d{1,5}(?:[\s./-]?\d{2,5}){1,5}"
            r"|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-. ]\d{3}[-. ]\d{4}|0\d{2,5}[ /-]\d{3,4}[ -]?\d{2,6}|00\d{9,13}"
            r"|\d{3}-\d\d-\d{4})(?!\w)"
        ),
        REDACTED,
    ),
)

_secrets: set[str] = set()
_secret_pattern: re.Pattern[str] | None = None


def register_secret(value: str) -> None:
    """Never let this value into a log line, whole or as it stands in a URL. Values under 6 characters are ignored."""
    global _secret_pattern
    if len(value) < _SHORTEST_SECRET:
        return
    _secrets.update({value, quote(value, safe="")})
    longest_first = sorted(_secrets, key=len, reverse=True)
    _secret_pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))


def redact(text: str) -> str:
    """Take registered secrets, credentials, addresses, and card, account and phone numbers out of a text."""
    if _secret_pattern is not None and len(text) >= _SHORTEST_SECRET:
        text = _secret_pattern.sub(REDACTED, text)
    if _PLAIN.match(text) or _SUSPECT.search(text) is None:
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=1_024)
def _sensitive(name: str) -> bool:
    return _SENSITIVE_NAME.search(name) is not None


def _safe(value: Any, depth: int = 0) -> Any:
    """A value as bounded, redacted JSON."""
    if isinstance(value, str):
        # The cut comes first: looking through megabytes would hold everything up.
        return redact(value[: 2 * MAX_VALUE])[:MAX_VALUE]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return REDACTED if value > 10**12 and redact(str(value)) == REDACTED else value
    if isinstance(value, Mapping) and depth < 4:
        return {redact(str(key)): _field(str(key), item, depth + 1) for key, item in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset) and depth < 4:
        return [_safe(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return redact(str(value)[: 2 * MAX_VALUE])[:MAX_VALUE]


def _field(name: str, value: Any, depth: int = 0) -> Any:
    if not _sensitive(name) or value is None or isinstance(value, bool | float):
        return _safe(value, depth)
    if isinstance(value, int) and abs(value) < 10**6:
        return value  # a count of tokens isn't a token
    return REDACTED


def _traceback(exc_info: Any) -> str:
    """The plain traceback of an exception: no local variables, redacted, at most 8 kB, most of it from the end."""
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    else:
        error = (exc_info if isinstance(exc_info, tuple) else sys.exc_info())[1]
    if error is None:
        return ""
    text = redact("".join(traceback.format_exception(error, limit=-25))[-2 * MAX_TRACEBACK :])
    return text if len(text) <= MAX_TRACEBACK else f"{text[:1_000]}\n…\n{text[-(MAX_TRACEBACK - 1_003) :]}"


class _Sink:
    """Where lines go: never an exception, never a wait for a reader who isn't there."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._dropped = 0
        self._torn = False

    def write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        with self._lock:
            try:
                fd = stream.fileno()
            except (AttributeError, OSError, ValueError):
                fd = -1
            try:
                if fd < 0 or not hasattr(select, "poll"):
                    stream.write(line + "\n")
                    stream.flush()
                else:
                    self._send(fd, line)
            except (OSError, ValueError, AttributeError):
                self._dropped += 1

    def _send(self, fd: int, line: str) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if not poll.poll(0):
            self._dropped += 1
            return
        if self._dropped:
            line = f'{{"level":"warning","event":"log lines dropped","count":{self._dropped}}}\n{line}'
        view = memoryview(("\n" * self._torn + line + "\n").encode("ascii"))
        self._dropped, self._torn = 0, False
        while view:
            view = view[os.write(fd, view[: select.PIPE_BUF]) :]
            if view and not poll.poll(PATIENCE_MS):
                self._torn = True
                return


class _Named:
    """What structlog wraps: a name, and the way out."""

    def __init__(self, name: str = "courtside") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        _sink.write(line)

    debug = info = warning = error = critical = log = msg


_sink = _Sink(None)
_debug = False
_started = time.monotonic()


def _rendered(name: str, level: str, event: MutableMapping[str, Any]) -> str:
    try:
        line: dict[str, Any] = {"at": _CLOCK.now().isoformat(timespec="milliseconds"), "level": level}
        line["event"] = _safe(event.pop("event", ""))
        line["logger"] = name
        if _debug:
            line["elapsed_ms"] = round((time.monotonic() - _started) * 1_000, 3)
        failed = event.pop("exc_info", None)
        trace = _traceback(failed) if failed else ""
        for field, value in event.items():
            line[field] = _field(field, value)
        if trace:
            line["traceback"] = trace
        rendered = orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS)
        # ASCII only: no character of a value can reorder, hide or forge a line.
        return rendered.decode() if rendered.isascii() else json.dumps(orjson.loads(rendered))
    except Exception:  # noqa: BLE001 - a value's own __str__ may raise anything, and a log line must not
        return json.dumps({"level": level, "event": "a log line could not be rendered", "logger": name})


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    return _rendered(getattr(logger, "name", "courtside"), method, event)


class _Bridge(logging.Handler):
    """The standard library's records on the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        event = dict(structlog.contextvars.get_contextvars())
        try:
            event["event"] = record.getMessage()
        except (TypeError, ValueError):
            event["event"] = str(record.msg)
        event["exc_info"] = record.exc_info
        _sink.write(_rendered(record.name, record.levelname.lower(), event))


def configure(level: str = "INFO", debug: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line of this process through the pipeline. Calling it again replaces the configuration.

    Args:
        level: the least severe level: DEBUG, INFO, WARNING or ERROR.
        debug: log everything, with the time since the start; redaction stays.
        stream: standard error when None.
    """
    global _sink, _debug
    _sink, _debug = _Sink(stream), debug
    least = logging.DEBUG if debug else logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Named,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(least)
    for name in _QUIET:
        logging.getLogger(name).setLevel(least if debug else max(least, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda failed: _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get("courtside.process").critical("uncaught error", exc_info=(kind, error, trace))


def get(name: str) -> Any:
    """A logger: `get("courtside.web").info("event", field=value)`."""
    return structlog.get_logger(name)


def bound(**values: Any) -> Any:
    """A context manager that puts values on every line inside it, across awaits and threads that copy the context."""
    return structlog.contextvars.bound_contextvars(**values)
