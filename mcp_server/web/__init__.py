"""HTTP: the guard in front, MCP, health and metrics behind it."""

from mcp_server.web.app import build_app
from mcp_server.web.limits import HttpLimits
from mcp_server.web.serve import serve_http

__all__ = ["HttpLimits", "build_app", "serve_http"]
