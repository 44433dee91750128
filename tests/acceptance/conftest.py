"""What several of these modules share, since making it takes long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from acceptance.processes import end_server, with_two_versions


@pytest.fixture(scope="module", autouse=True)
def _ends_its_server() -> Iterator[None]:
    """No server of a module is there in the next one."""
    yield
    end_server()


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A data folder with two verified versions, y@1 and y@2: whoever changes them puts them back."""
    return with_two_versions(tmp_path_factory.mktemp("versions"))
