"""What the tool for reports answers."""

from __future__ import annotations

from typing import Any

from mcp_server.workflows.reply import Reply, counted


class Reported(Reply):
    """A report that is kept, with one sentence of each section, and the files that were written of it."""

    report: str
    uri: str
    sections: list[dict[str, Any]]
    drawn: int = 0
    files: list[str]
    digest: str

    def lines(self) -> list[str]:
        # Of one that was made before, its sections aren't told again.
        made = f"{counted(len(self.sections), 'section')}, " if self.sections else ""
        told = [f"Report {self.report}: {made}{counted(self.drawn, 'picture')}."]
        told += [f"- {one['in_short']}" for one in self.sections]
        if self.files:
            told += ["Written, in the data folder of the server:", *(f"- {file}" for file in self.files)]
        return told
