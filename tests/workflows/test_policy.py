"""A file in which a person states something is read as far as it can be one, and no further."""

import tracemalloc
from pathlib import Path

import pytest

from mcp_server.errors import InvalidInput
from mcp_server.workflows import policy


def test_a_file_that_is_too_large_is_refused_without_being_read_as_a_whole(tmp_path: Path):
    large = tmp_path / "policy.yaml"
    with large.open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="larger than 256 kB"):
            policy.read(large)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 32 * 2**20
