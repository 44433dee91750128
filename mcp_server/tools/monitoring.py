"""Monitoring: is everything well, and what to do if not."""

from __future__ import annotations

from mcp_server.guard.spec import READ_ONLY
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import health
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import HealthReport

toolset = Toolset("monitoring")


@toolset.tool(title="Health report", scope="read", hints=READ_ONLY)
async def health_report(app: App) -> HealthReport:
    """Say what needs attention and which runbook helps; then dependencies, models, jobs, errors, slow tools, disk.

    Use first when something seems wrong. Next: read the named runbook resource.
    """
    return await health.report(app)
