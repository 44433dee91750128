"""One file for each toolset noun; a tool translates and does not decide."""

from collections.abc import Collection

from mcp_server.guard.spec import ToolSpec
from mcp_server.settings import DEFAULT_TOOLSETS
from mcp_server.tools import admin, data, jobs, labels, models, monitoring, serving

TOOLSETS = (
    *(data.toolset, models.toolset, serving.toolset, monitoring.toolset, jobs.toolset),
    *(labels.toolset, admin.toolset),
)


def specs(*, read_only: bool = False, toolsets: Collection[str] = DEFAULT_TOOLSETS) -> list[ToolSpec]:
    """Every tool of some toolsets in its fixed order; with `read_only`, those that change nothing."""
    every = [spec for toolset in TOOLSETS if toolset.name in toolsets for spec in toolset.specs]
    return [spec for spec in every if spec.hints.read_only] if read_only else every


def every_spec() -> list[ToolSpec]:
    """Every tool there is, in any toolset."""
    return specs(toolsets=[toolset.name for toolset in TOOLSETS])
