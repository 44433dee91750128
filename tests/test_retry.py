"""Retrying: how often, how long, for what; without waiting and without telling secrets."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.retry import retry_with_backoff


class Flaky:
    """Fails as often as it's told to, then answers; counts its calls."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("password=hunter2")
        self.calls = 0

    def __call__(self, *args: object, **kwargs: object) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def delays_of(failures: int, **parameters: object) -> list[float]:
    waited: list[float] = []
    flaky = Flaky(failures)

    @retry_with_backoff(sleep=waited.append, **parameters)  # type: ignore[arg-type]
    def call() -> str:
        return flaky()

    assert call() == "answer"
    return waited


def test_a_call_that_succeeds_is_made_once_and_never_waits() -> None:
    assert delays_of(0) == []


def test_the_delays_double_from_a_second_up_to_a_minute() -> None:
    assert delays_of(8, max_retries=8, jitter=lambda: 0.0) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_jitter_comes_on_top_even_of_the_longest_delay() -> None:
    assert delays_of(2, max_retries=2, base_delay=50.0, jitter=lambda: 1.0) == pytest.approx([55.0, 66.0])


@given(
    base=st.floats(0, 1e9),
    longest=st.floats(0, 1e9),
    factor=st.floats(1e-9, 1e9),
    share=st.floats(0, 1, exclude_max=True),
    failures=st.integers(0, 6),
)
@settings(deadline=None)
def test_each_delay_is_the_capped_power_and_at_most_a_tenth_more(
    base: float, longest: float, factor: float, share: float, failures: int
) -> None:
    waited = delays_of(
        failures, max_retries=6, base_delay=base, max_delay=longest, exponential_base=factor, jitter=lambda: share
    )
    assert len(waited) == failures
    for attempt, delay in enumerate(waited):
        exact = min(base * factor**attempt, longest)
        assert exact <= delay <= exact * 1.1 + 1e-9


def test_the_default_jitter_varies_and_stays_within_a_tenth() -> None:
    waited = delays_of(50, max_retries=50, exponential_base=1.0)
    assert all(1.0 <= delay <= 1.1 for delay in waited)
    assert len(set(waited)) > 1


def test_a_power_beyond_every_float_is_the_longest_delay() -> None:
    assert delays_of(4, max_retries=4, exponential_base=1e200, jitter=lambda: 0.0) == [1, 60, 60, 60]
    assert delays_of(4, max_retries=4, base_delay=0.0, exponential_base=1e200, jitter=lambda: 0.0) == [0, 0, 0, 0]


def test_after_the_last_retry_the_last_exception_comes_out_as_it_is() -> None:
    errors = iter([OSError("first"), OSError("second"), OSError("third")])

    @retry_with_backoff(max_retries=2, sleep=lambda _: None)
    def call() -> None:
        raise next(errors)

    with pytest.raises(OSError, match="third"):
        call()


def test_without_retries_it_is_called_once() -> None:
    flaky = Flaky(1)
    with pytest.raises(ConnectionError):
        retry_with_backoff(max_retries=0, sleep=lambda _: None)(flaky)()
    assert flaky.calls == 1


def test_an_exception_that_is_not_listed_passes_at_once() -> None:
    flaky = Flaky(1, ValueError("not a passing failure"))
    with pytest.raises(ValueError, match="not a passing"):
        retry_with_backoff(exceptions=(OSError, KeyError), sleep=lambda _: None)(flaky)()
    assert flaky.calls == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
def test_cancellation_and_the_interpreters_end_pass_at_once(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        retry_with_backoff(exceptions=(BaseException,), sleep=lambda _: None)(flaky)()
    assert flaky.calls == 1
    assert caplog.records == []


def test_an_async_function_is_retried_and_awaits_its_sleep() -> None:
    waited: list[float] = []
    flaky = Flaky(2)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        waited.append(seconds)

    @retry_with_backoff(sleep=sleep, jitter=lambda: 0.0)
    async def call() -> str:
        return flaky()

    assert inspect.iscoroutinefunction(call)
    assert asyncio.run(call()) == "answer"
    assert waited == [1.0, 2.0]


def test_a_task_cancelled_while_it_waits_ends_without_another_call() -> None:
    flaky = Flaky(9)

    async def scenario() -> None:
        asleep = asyncio.Event()

        async def sleep(seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        @retry_with_backoff(exceptions=(BaseException,), sleep=sleep)
        async def call() -> str:
            return flaky()

        task = asyncio.create_task(call())
        await asleep.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert flaky.calls == 1


def test_a_task_cancelled_while_it_works_ends_without_another_call() -> None:
    calls = 0

    async def scenario() -> None:
        started = asyncio.Event()

        @retry_with_backoff(exceptions=(BaseException,), sleep=lambda _: None)
        async def call() -> None:
            nonlocal calls
            calls += 1
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert calls == 1


def test_by_default_it_waits_with_the_standard_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert retry_with_backoff(jitter=lambda: 0.0)(Flaky(1))() == "answer"
    flaky = Flaky(1)

    async def call() -> str:
        return flaky()

    assert asyncio.run(retry_with_backoff(jitter=lambda: 0.0)(call)()) == "answer"
    assert waited == [1.0, 1.0]


def test_each_retry_is_a_warning_and_the_last_failure_an_error(caplog: pytest.LogCaptureFixture) -> None:
    flaky = Flaky(9)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError):
        retry_with_backoff(max_retries=2, sleep=lambda _: None)(flaky)()
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("mcp_server.retry", "WARNING"),
        ("mcp_server.retry", "WARNING"),
        ("mcp_server.retry", "ERROR"),
    ]


def test_no_argument_and_no_message_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError):
        retry_with_backoff(sleep=lambda _: None)(Flaky(9))("card 4111", key="secret")
    assert caplog.text
    assert all(word not in caplog.text for word in ("4111", "secret", "hunter2"))


def test_signature_name_and_arguments_are_kept() -> None:
    @retry_with_backoff()
    def add(left: int, right: int = 2) -> int:
        """Add."""
        return left + right

    assert (add.__name__, add.__doc__) == ("add", "Add.")
    assert list(inspect.signature(add).parameters) == ["left", "right"]
    assert add(1, right=4) == 5


def test_methods_partials_and_async_callables_can_be_decorated() -> None:
    class Client:
        attempts = 0

        @retry_with_backoff(sleep=lambda _: None)
        def get(self) -> int:
            self.attempts += 1
            if self.attempts < 3:
                raise OSError
            return self.attempts

        async def __call__(self) -> int:
            return self.get()

    assert Client().get() == 3
    assert retry_with_backoff()(functools.partial(max, 1))(2) == 2
    assert asyncio.run(retry_with_backoff()(Client())()) == 3


def test_each_call_has_its_own_count_of_retries() -> None:
    flaky = Flaky(2)
    call = retry_with_backoff(max_retries=1, sleep=lambda _: None)(flaky)
    with pytest.raises(ConnectionError):
        call()
    assert call() == "answer"


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"base_delay": -0.1},
        {"base_delay": float("nan")},
        {"max_delay": float("inf")},
        {"max_delay": "60"},
        {"exponential_base": 0.0},
        {"exponential_base": 10**400},
        {"exceptions": ("OSError",)},
        {"exceptions": (int,)},
    ],
)
def test_a_parameter_out_of_bounds_is_refused_when_decorating(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        retry_with_backoff(**parameters)  # type: ignore[arg-type]


def test_the_decorator_without_parentheses_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="parentheses"):

        @retry_with_backoff  # type: ignore[arg-type]
        def call() -> None: ...


def test_one_exception_class_needs_no_tuple() -> None:
    assert retry_with_backoff(exceptions=ConnectionError, sleep=lambda _: None)(Flaky(1))() == "answer"


def _numbers() -> Iterator[int]:
    yield 1


async def _async_numbers():  # type: ignore[no-untyped-def]
    yield 1


@pytest.mark.parametrize("function", [_numbers, _async_numbers, functools.partial(_numbers)])
def test_a_generator_is_refused_because_its_work_comes_after_the_call(function: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="generator"):
        retry_with_backoff()(function)
