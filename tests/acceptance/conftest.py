"""What several of these modules share, since making it takes long."""

from __future__ import annotations

import pytest

from acceptance.processes import with_two_versions


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A data folder with two verified versions, y@1 and y@2: whoever changes them puts them back."""
    return with_two_versions(tmp_path_factory.mktemp("versions"))
