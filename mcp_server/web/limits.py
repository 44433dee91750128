"""What one HTTP client may take up."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_server.guard.wire import MAX_BYTES


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the HTTP server.

    Args:
        header_seconds: from a connection, or a kept-alive request's first byte, to the end of its headers.
        body_seconds: from the end of the headers to the end of the body.
        keep_alive_seconds: an idle connection is closed after this.
        headers: the count of header fields.
        header_bytes: their size, names and values.
        body_bytes: the size of a body.
        connections: open connections, beyond which requests are answered with 503.
        half_open: connections whose headers aren't there yet; beyond it the oldest of them is closed.
        sessions: open sessions of the older protocol versions.
        caller_sessions: those of one caller.
        caller_streams: open event streams of one caller.
        session_idle_seconds: a session without a request is closed after this.
        drain_seconds: how long a stopping server still accepts, while `/readyz` already says 503.
        grace_seconds: how long it then waits for running requests.
    """

    header_seconds: float = 5.0
    body_seconds: float = 15.0
    keep_alive_seconds: float = 10.0
    headers: int = 64
    header_bytes: int = 16 * 1024
    body_bytes: int = MAX_BYTES
    connections: int = 512
    half_open: int = 256
    sessions: int = 100
    caller_sessions: int = 60
    caller_streams: int = 32
    session_idle_seconds: float = 300.0
    drain_seconds: float = 0.5
    grace_seconds: float = 10.0
