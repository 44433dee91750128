"""One server for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from web.live import Running, running


@pytest.fixture(scope="module")
def web() -> Iterator[Running]:
    with running() as here:
        yield here
