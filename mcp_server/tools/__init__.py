"""One file for each toolset noun; a tool translates and does not decide."""

from collections.abc import Collection
from importlib import import_module

from mcp_server.guard.spec import ToolSpec
from mcp_server.settings import DEFAULT_TOOLSETS, FURTHER_TOOLSETS
from mcp_server.tools.toolset import Toolset

TOOLSETS = (*DEFAULT_TOOLSETS, *FURTHER_TOOLSETS)


def toolset(name: str) -> Toolset:
    """The toolset of a name in `TOOLSETS`; its module loads when first asked for, so one that's off costs nothing."""
    found: Toolset = import_module(f"{__name__}.{name}").toolset
    return found


def specs(*, read_only: bool = False, toolsets: Collection[str] = DEFAULT_TOOLSETS) -> list[ToolSpec]:
    """Every tool of some toolsets in its fixed order; with `read_only`, those that change nothing."""
    every = [spec for name in TOOLSETS if name in toolsets for spec in toolset(name).specs]
    return [spec for spec in every if spec.hints.read_only] if read_only else every


def every_spec() -> list[ToolSpec]:
    """Every tool there is, in any toolset."""
    return specs(toolsets=TOOLSETS)
