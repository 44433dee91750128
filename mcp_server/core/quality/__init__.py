"""Quality: what is wrong with a table, what is worth a look, and what nobody looked for."""

from mcp_server.core.quality.report import Finding, ValidationReport
from mcp_server.core.quality.validate import NOT_LOOKED_FOR, validate

__all__ = ["NOT_LOOKED_FOR", "Finding", "ValidationReport", "validate"]
