"""Quality: what is wrong with a table, what is worth a look, and what nobody looked for.

The whole check is imported when it's first asked for: who only holds a table to its contract needn't wait for
scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.core.quality.report import Finding, ValidationReport

if TYPE_CHECKING:
    from mcp_server.core.quality.check import NOT_LOOKED_FOR, validate

__all__ = ["NOT_LOOKED_FOR", "Finding", "ValidationReport", "validate"]


def __getattr__(name: str) -> Any:
    if name not in ("NOT_LOOKED_FOR", "validate"):
        raise AttributeError(name)
    from mcp_server.core.quality import check

    return getattr(check, name)
