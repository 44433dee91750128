"""What a table promises: kinds, roles, ranges, and which columns decide the target."""

from mcp_server.core.contract.fairness import RateLimits
from mcp_server.core.contract.model import (
    Column,
    Contract,
    Derived,
    Made,
    Part,
    Role,
    Synthetic,
    from_dict,
    to_dict,
)
from mcp_server.core.contract.overrides import Overrides, apply_overrides
from mcp_server.core.contract.rules import Freshness, RowBounds, Rule
from mcp_server.core.expressions.kinds import Kind

__all__ = [
    "Column",
    "Contract",
    "Derived",
    "Freshness",
    "Kind",
    "Made",
    "Overrides",
    "Part",
    "RateLimits",
    "Role",
    "RowBounds",
    "Rule",
    "Synthetic",
    "apply_overrides",
    "from_dict",
    "to_dict",
]
