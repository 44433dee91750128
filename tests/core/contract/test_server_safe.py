"""The server holds contracts and expressions without the libraries that compute on tables."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "mcp_server.core.contract",
        "mcp_server.core.expressions",
        "mcp_server.core.labels",
        "mcp_server.core.preparing.plan",
        "mcp_server.workflows.preparing",
    ],
)
def test_nothing_heavy_is_imported(module):
    heavy = ("polars", "numpy", "sklearn", "dbos", "re2")
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
