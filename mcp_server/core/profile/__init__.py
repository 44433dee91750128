"""What a data set looks like, and what differs between two versions of it, in a bounded answer."""

from mcp_server.core.profile.difference import difference
from mcp_server.core.profile.profile import MAX_BYTES, profile

__all__ = ["MAX_BYTES", "difference", "profile"]
