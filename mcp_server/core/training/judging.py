"""Which rows a caller wants to judge a model on: a share, a date or a condition, checked by the contract alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from mcp_server.core.contract import Contract
from mcp_server.core.expressions import Expression, parse
from mcp_server.errors import InvalidInput

_SHARE = re.compile(r"0?\.\d+")


def is_share(text: str) -> bool:
    """Whether it's a share of the rows.

    >>> is_share("0.2"), is_share("season >= 2011")
    (True, False)
    """
    return _SHARE.fullmatch(text.strip()) is not None


def cutoff(text: str) -> datetime | None:
    """The moment from which on rows judge, or None where it isn't a date."""
    try:
        moment = datetime.fromisoformat(text)
        # As the table's times: in UTC, without saying so.
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the latter at either end of the calendar
        return None


def condition(contract: Contract, text: str) -> Expression:
    """A condition on rows.

    Raises:
        InvalidInput: it names no column of the table, or isn't true or false.
        DataRejected: it isn't in the expression language, or compares kinds that don't go together.
    """
    expression = parse(text)
    for name in sorted(expression.columns):
        contract.column(name)  # refuses an unknown name, with what was probably meant
    if expression.kind({column.name: column.kind for column in contract.columns}) != "boolean":
        raise InvalidInput(
            "A condition on rows must be true or false for each row.",
            hint="Write a comparison, such as season >= 2011.",
        )
    return expression


def check_test(contract: Contract, test: str) -> None:
    """Refuse what can't name test rows of any table with this contract. Raises as `condition`."""
    if is_share(test):
        return
    if cutoff(test) is None:
        condition(contract, test)
    elif contract.time is None or contract.column(contract.time).kind not in ("date", "datetime"):
        raise InvalidInput(
            "A date was given for the test rows, but the data has no time column with dates.",
            hint="State a condition such as season >= 2011, or a share; or import the data with a time column.",
        )
