"""When a schedule is due: cron expressions of five fields, in a time zone."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mcp_server.errors import CourtsideError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

log = logging.getLogger("mcp_server.jobs.schedule")

LEAST = timedelta(minutes=5)
"""The least time between two runs."""

LOOKED_AT = 400
"""How many runs are looked at for two that are too close: what repeats daily, weekly or monthly shows within these."""

LONGEST = 100
_YEARS = 9
# Names of days and months, no hashes and no random fields, which the library would take too.
_FIELDS = re.compile(r"(?!.*[hr](?:\W|$))[0-9a-z*/,#-]+(?: [0-9a-z*/,#-]+){4}", re.IGNORECASE)


def check(cron: str, timezone: str, now: datetime) -> str:
    """The expression with single spaces, if it can be kept.

    Args:
        cron: minute, hour, day of month, month, day of week; both day fields given means either.
        timezone: an IANA name.
        now: aware.
    Raises:
        InvalidInput: it isn't one, never comes within nine years, or comes more often than every five minutes.
    """
    cron = " ".join(cron.split())
    if len(cron) > LONGEST or not _FIELDS.fullmatch(cron):
        raise _wrong("The schedule isn't five fields of digits, names and * / , - #.")
    try:
        _zone(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            "There is no time zone of that name.", hint="Use an IANA name, such as UTC or Europe/Paris."
        ) from None
    before = None
    runs = _runs(cron, timezone, now)
    for _ in range(LOOKED_AT):
        at = next(runs)
        if before is not None and at - before < LEAST:
            raise InvalidInput(
                "The schedule comes more often than every five minutes.", hint="Use fewer runs, such as */5 or */15."
            )
        before = at
        if at - now > timedelta(days=366):
            break
    return cron


def next_run(cron: str, timezone: str, after: datetime) -> datetime:
    """The first run later than a moment.

    Where clocks are put forward, a run that falls into the gap comes at its end; where they are put back, a run at a
    fixed hour comes once, and one of every hour each time.

    Args:
        cron, timezone: that passed `check`.
        after: aware.
    Returns:
        aware, in UTC.
    Raises:
        InvalidInput: it never comes, within nine years.

    >>> next_run("30 2 * * *", "Europe/Paris", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)).isoformat()
    '2026-10-26T01:30:00+00:00'
    """
    return next(_runs(cron, timezone, after))


async def outlived(what: str, work: Awaitable[int]) -> int:
    """Await one turn of a loop that has to go on whatever happens in it: a failure is logged.

    Returns:
        what it gives; 0 where it failed.
    """
    try:
        return await work
    except CourtsideError as failed:
        log.warning("%s: %s", what, failed.code)
    except Exception:
        log.exception("%s: the loop goes on after an unexpected error", what)
    return 0


def _runs(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    from croniter import CroniterError, croniter

    fixed_hour = "*" not in cron.split()[1]
    try:
        moments = croniter(cron, after.astimezone(_zone(timezone)), max_years_between_matches=_YEARS)
        while True:
            at = moments.get_next(datetime)
            if not (fixed_hour and at.fold):
                yield at.astimezone(UTC)
    except CroniterError:
        # What the library says may repeat the text.
        raise _wrong(f"The schedule can't be read, or no day within {_YEARS} years fits it.") from None


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":  # also where the system has no table of zones
        return UTC
    if name not in available_timezones():  # nor `localtime`, which isn't the same everywhere
        raise ZoneInfoNotFoundError(name)
    return ZoneInfo(name)


def _wrong(said: str) -> InvalidInput:
    return InvalidInput(
        said, hint="Five fields: minute, hour, day of month, month, day of week; 0 6 * * 1 is Mondays at six."
    )
