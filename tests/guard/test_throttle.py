import asyncio

import pytest

from mcp_server.errors import Throttled
from mcp_server.guard.throttle import Throttle


class Time:
    """A clock that moves when something sleeps on it."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self):
        raise AssertionError("a throttle works on the monotonic clock")

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


def throttle(time: Time, **changes: float) -> Throttle:
    options = {"rate": 10.0, "burst": 5, "queue_seconds": 0.25, "queue_calls": 100, **changes}
    return Throttle(clock=time, sleep=time.sleep, **options)


async def taken(limit: Throttle, times: int, caller: str = "a", tool: str = "predict") -> list[float]:
    return [await limit.take(caller, tool) for _ in range(times)]


def test_a_burst_passes_at_once_and_what_follows_waits_its_turn():
    time = Time()
    assert asyncio.run(taken(throttle(time), 7)) == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.1])


def test_a_wait_beyond_the_bound_is_refused_with_the_time_to_come_back():
    time = Time()
    limit = throttle(time, queue_seconds=0.05)
    asyncio.run(taken(limit, 5))
    with pytest.raises(Throttled) as caught:
        asyncio.run(limit.take("a", "predict"))
    assert caught.value.retry_after == pytest.approx(0.1)


def test_a_refusal_costs_no_place():
    time = Time()
    limit = throttle(time, queue_seconds=0.0)
    asyncio.run(taken(limit, 5))
    for _ in range(50):
        with pytest.raises(Throttled):
            asyncio.run(limit.take("a", "predict"))
    time.at += 0.1
    assert asyncio.run(limit.take("a", "predict")) == 0.0


def test_a_rate_of_zero_refuses_every_call():
    with pytest.raises(Throttled):
        asyncio.run(throttle(Time(), rate=0.0).take("a", "predict"))


def test_one_caller_does_not_starve_another():
    time = Time()
    limit = throttle(time, queue_seconds=0.0)
    asyncio.run(taken(limit, 5))
    assert asyncio.run(limit.take("b", "predict")) == 0.0
    assert asyncio.run(limit.take("a", "health_report")) == 0.0


def test_only_so_many_calls_of_one_caller_wait_at_once():
    class Stuck(Time):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    async def scene() -> None:
        time = Stuck()
        limit = throttle(time, burst=1, queue_calls=2, queue_seconds=60.0)
        await limit.take("a", "predict")
        waiting = [asyncio.create_task(limit.take("a", "predict")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Throttled):
            await limit.take("a", "predict")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        waiting = asyncio.create_task(limit.take("a", "predict"))
        await asyncio.sleep(0)
        assert not waiting.done(), "a cancelled wait gives its place in the queue back"
        waiting.cancel()

    asyncio.run(scene())


def test_over_a_long_time_the_rate_is_kept():
    time = Time()
    limit = throttle(time, queue_seconds=1.0)
    started = time.at
    asyncio.run(taken(limit, 505))
    assert time.at - started == pytest.approx(50.0, abs=0.2)
