"""A small safe language over the columns of a table: derived columns, row filters, targets."""

from mcp_server.core.expressions.expression import Expression, parse
from mcp_server.core.expressions.kinds import Kind

__all__ = ["Expression", "Kind", "parse"]
