"""What a data set looks like, in a bounded answer."""

from mcp_server.core.profile.profile import MAX_BYTES, profile

__all__ = ["MAX_BYTES", "profile"]
