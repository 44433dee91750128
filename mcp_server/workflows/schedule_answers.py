"""What the tool for schedules answers."""

from __future__ import annotations

from typing import Any

from mcp_server.workflows.reply import Reply, counted

MOST_TOLD = 20


class Schedules(Reply):
    """Every schedule, and what was changed."""

    schedules: list[dict[str, Any]]
    changed: str | None = None

    def lines(self) -> list[str]:
        told = [self.changed] if self.changed else []
        told.append(f"{counted(len(self.schedules), 'schedule')}.")
        for one in self.schedules[:MOST_TOLD]:
            last = one["recent"][-1] if one["recent"] else None
            ended = f"; last {last['at']}: {last['code']}, {last['said']}" if last else "; hasn't run yet"
            told.append(f"- {one['name']}: {one['tool']} at {one['cron']} {one['timezone']}, next {one['next']}{ended}")
        if (more := len(self.schedules) - MOST_TOLD) > 0:
            told.append(f"And {more} more, in the structure.")
        return told
