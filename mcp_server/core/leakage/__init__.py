"""Leakage: features that give the target away."""

from mcp_server.core.leakage.find import find_leaks
from mcp_server.core.leakage.leak import Leak

__all__ = ["Leak", "find_leaks"]
