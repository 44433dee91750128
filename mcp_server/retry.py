"""Trying again after failures that pass: `retry_with_backoff`, for plain and async functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

JITTER = 0.1
"""The largest share of a delay that is added to it, so that callers who failed together don't come back together."""

_log = logging.getLogger(__name__)


def retry_with_backoff(
    max_retries: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
    exceptions: tuple[type[BaseException], ...] | type[BaseException] = (Exception,),
    *,
    sleep: Callable[[float], Awaitable[None] | None] | None = None,
    jitter: Callable[[], float] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it's called again when it raises one of `exceptions`.

    After failure n (from 0) it waits `min(base_delay * exponential_base**n, max_delay)` seconds, and up to 10 % of
    that on top. After `max_retries` retries the last exception is raised as it is; any other exception passes at
    once. So do cancellation, KeyboardInterrupt and SystemExit, even where `exceptions` has BaseException. A retry is
    logged as a warning and the last failure as an error, with the names of the function and the exception only:
    messages and arguments may hold secrets.

    Args:
        max_retries: calls after the first, >= 0.
        base_delay: seconds, finite, >= 0.
        max_delay: seconds, finite, >= 0; the jitter is added to it.
        exponential_base: the factor from one delay to the next, finite, > 0.
        exceptions: what is worth another try; one class or a tuple of them.
        sleep: waits that many seconds; for an async function it may return something to await. By default
            `time.sleep` or `asyncio.sleep`.
        jitter: a number in [0, 1): the share of the jitter to add. By default uniform.
    Returns:
        a decorator that keeps the function's signature; an async function stays one.
    Raises:
        ValueError: a parameter is out of its bounds.
        TypeError: what is decorated isn't callable, or is a generator function: its work happens after the call has
            returned, so nothing would be retried.

    >>> calls = []
    >>> @retry_with_backoff(max_retries=2, exceptions=(OSError,), sleep=calls.append, jitter=lambda: 0.0)
    ... def read():
    ...     if len(calls) < 2:
    ...         raise OSError
    ...     return "content"
    >>> read(), calls
    ('content', [1.0, 2.0])
    """
    plan = _Plan(max_retries, base_delay, max_delay, exponential_base, _classes(exceptions), sleep, jitter)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function):
            raise TypeError("retry_with_backoff decorates a function")
        called = function if inspect.isroutine(function) else getattr(function, "func", type(function).__call__)
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise TypeError("retry_with_backoff can't retry a generator: its work happens after the call has returned")
        name = getattr(function, "__qualname__", type(function).__qualname__)
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
            coroutine = cast(Callable[P, Awaitable[Any]], function)
            return cast(Callable[P, R], functools.wraps(function)(_retrying_async(plan, coroutine, name)))
        return functools.wraps(function)(_retrying(plan, function, name))

    return decorate


@dataclass(frozen=True, slots=True)
class _Plan:
    max_retries: int
    base_delay: float
    max_delay: float
    exponential_base: float
    exceptions: tuple[type[BaseException], ...]
    sleep: Callable[[float], Awaitable[None] | None] | None
    jitter: Callable[[], float] | None

    def __post_init__(self) -> None:
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:
            raise ValueError("max_retries must be a whole number, 0 or more (and the decorator needs parentheses)")
        for name in ("base_delay", "max_delay"):
            if not _is_finite(getattr(self, name)) or getattr(self, name) < 0:
                raise ValueError(f"{name} must be a finite number of seconds, 0 or more")
        if not _is_finite(self.exponential_base) or self.exponential_base <= 0:
            raise ValueError("exponential_base must be a finite number above 0")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failure `attempt` (from 0), jitter included."""
        try:
            delay = min(self.base_delay * float(self.exponential_base) ** attempt, self.max_delay)
        except OverflowError:
            delay = self.max_delay if self.base_delay > 0 else 0.0
        share = random.random() if self.jitter is None else self.jitter()  # noqa: S311  (spreads load, hides nothing)
        return delay + delay * JITTER * share

    def next_delay(self, error: BaseException, attempt: int, name: str) -> float | None:
        """Log the failure; seconds until the next attempt, or None where there is none."""
        kind = type(error).__name__
        if not isinstance(error, Exception):  # cancellation and the interpreter's end aren't failures
            return None
        if attempt >= self.max_retries:
            _log.error("%s failed with %s after %d retries", name, kind, attempt)
            return None
        delay = self.delay(attempt)
        _log.warning("%s failed with %s; retry %d of %d in %.2f s", name, kind, attempt + 1, self.max_retries, delay)
        return delay


def _retrying(plan: _Plan, function: Callable[P, R], name: str) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        attempt = 0
        while True:
            try:
                return function(*args, **kwargs)
            except plan.exceptions as error:
                delay = plan.next_delay(error, attempt, name)
                if delay is None:
                    raise
            (plan.sleep or time.sleep)(delay)
            attempt += 1

    return call


def _retrying_async(plan: _Plan, function: Callable[P, Awaitable[Any]], name: str) -> Callable[P, Awaitable[Any]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        attempt = 0
        while True:
            try:
                return await function(*args, **kwargs)
            except plan.exceptions as error:
                delay = plan.next_delay(error, attempt, name)
                if delay is None:
                    raise
            waiting = (plan.sleep or asyncio.sleep)(delay)
            if inspect.isawaitable(waiting):
                await waiting
            attempt += 1

    return call


def _classes(exceptions: object) -> tuple[type[BaseException], ...]:
    given = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    for kind in given:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError("exceptions must be exception classes")
    return given


def _is_finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False
