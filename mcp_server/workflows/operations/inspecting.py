"""Looking into a foreign model file in a process of its own: nothing of it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcp_server.core.model_files import read_model_file

Report = Callable[[float, str], None]


def read_model(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Say what a file is and whether it's data alone.

    Args:
        arguments: path.
    Returns:
        the report: kind, verdict, findings, found, holds, counts, digest and unchecked.
    """
    report(0.1, "Reading")
    return asdict(read_model_file(Path(arguments["path"]).read_bytes()))
