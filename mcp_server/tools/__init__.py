"""One file for each toolset noun; a tool translates and does not decide."""

from mcp_server.guard.spec import ToolSpec
from mcp_server.tools import data, jobs, models, monitoring, serving

TOOLSETS = (data.toolset, models.toolset, serving.toolset, monitoring.toolset, jobs.toolset)


def specs(*, read_only: bool = False) -> list[ToolSpec]:
    """Every tool in its fixed order; with `read_only`, those that change nothing."""
    every = [spec for toolset in TOOLSETS for spec in toolset.specs]
    return [spec for spec in every if spec.hints.read_only] if read_only else every
