"""What the data tools answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PrivateAttr

from mcp_server.workflows.reply import Reply, counted, number

MOST_ROWS_TOLD = 8
NEVER = (
    "Never seen: flips of noisy labels, values scrambled in range, attacks on under 1 % of the rows, faint triggers, "
    "shifted units, leaks over three columns (whole: not_looked_for, docs/guides/screening.md)."
)


class Imported(Reply):
    """A new data set version, or the one that held the same content already."""

    dataset: str
    rows: int
    columns: int
    target: str | None = None
    notes: list[str] = Field(default_factory=list)
    digest: str
    existing: bool = False

    def lines(self) -> list[str]:
        what = "held the same content already" if self.existing else "stored"
        size = f"{counted(self.rows, 'row')} × {counted(self.columns, 'column')}"
        return [f"{self.dataset}: {size}, {what} ({self.digest[:19]}…).", *self.notes]


class Described(Reply):
    """Profile and contract of a version, or what differs from another; the newest of each data set without a name."""

    dataset: str | None = None
    rows: int = 0
    columns: int = 0
    digest: str = ""
    created_at: str = ""
    made_from: str = ""
    roles: dict[str, int] = Field(default_factory=dict)
    compatibility: str = ""
    notes: list[str] = Field(default_factory=list)
    difference: dict[str, Any] | None = None
    datasets: list[dict[str, Any]] | None = None

    def lines(self) -> list[str]:
        if self.datasets is not None:
            return [f"{counted(len(self.datasets), 'data set')}."] + [
                f"- {one['dataset']}: {counted(one['rows'], 'row')} × {counted(one['columns'], 'column')}"
                for one in self.datasets
            ]
        roles = ", ".join(f"{n} {role}" for role, n in self.roles.items())
        return [
            f"{self.dataset}: {counted(self.rows, 'row')} × {counted(self.columns, 'column')}"
            f"{f' ({roles})' if roles else ''}, stored {self.created_at}, {self.digest[:19]}….",
            self.made_from,
            *([self.compatibility] if self.compatibility else []),
            *self.notes,
            *(_different(self.difference) if self.difference else []),
        ]


class Validated(Reply):
    """The verdict on a version, with rows and reasons."""

    dataset: str
    verdict: Literal["pass", "warn", "fail"]
    failures: int
    warnings: int
    findings: list[dict[str, Any]]
    not_looked_for: list[str]

    _never: int = PrivateAttr(default=0)

    def with_never(self, count: int) -> Validated:
        """Say in one line what holds for every table: the last of `not_looked_for`."""
        self._never = count
        return self

    def lines(self) -> list[str]:
        told = [
            f"{self.dataset}: {self.verdict.upper()} with {counted(self.failures, 'failure')} and "
            f"{counted(self.warnings, 'warning')}."
        ]
        for finding in self.findings[:12]:
            where = f" [{', '.join(finding['columns'])}]" if finding["columns"] else ""
            rest = f"{finding['reason']}{_figure(finding)}{_rows(finding)}{_fix(finding)}"
            told.append(f"- {finding['severity']} {finding['rule']}{where}: {rest}")
        if len(self.findings) > 12:
            told.append(f"- and {len(self.findings) - 12} more in the structure.")
        here = self.not_looked_for[: len(self.not_looked_for) - self._never]
        told += ["Not looked for:", *(f"- {what}" for what in here)] if here else []
        return told + ([NEVER] if self._never else [])


class Prepared(Reply):
    """A new version made by a plan, or with a dry run what it would be; what each step did."""

    dataset: str
    rows: int
    columns: int
    steps: list[dict[str, Any]]
    notes: list[str] = Field(default_factory=list)
    digest: str | None = None
    existing: bool = False

    def lines(self) -> list[str]:
        stored = "" if self.digest is None else " (held already)" if self.existing else " (stored)"
        told = [f"{self.dataset}: {counted(self.rows, 'row')} × {counted(self.columns, 'column')}{stored}."]
        for place, step in enumerate(self.steps, start=1):
            (rows, left), (columns, wide) = step["rows"], step["columns"]
            sizes = f"rows {rows:,} → {left:,}, columns {columns} → {wide}"
            told.append(f"- {place} {step['do']}: {sizes}. {step['said']}")
        return told + [f"- {line}" for line in self.notes]


def _different(told: dict[str, Any]) -> list[str]:
    before, after = told["rows"]
    by_key = told["by"] == "key"
    changed = f", {told['rows_changed']:,} changed" if by_key else ""
    how = "matched by the key" if by_key else "matched by content, for want of a key: a changed row is one of each"
    return [
        f"Against {told['against']}: rows {before:,} → {after:,}; {told['rows_added']:,} added, "
        f"{told['rows_removed']:,} removed{changed}, {told['rows_same']:,} the same ({how}).",
        f"Columns: {told['columns_added']} added, {told['columns_removed']} removed, "
        f"{told['columns_changed']} changed; contract: {counted(told['promises_changed'], 'part')} changed, "
        f"{counted(told['promises_broken'], 'promise')} of before broken.",
    ]


def _figure(finding: dict[str, Any]) -> str:
    return "" if finding["statistic"] is None else f" Statistic: {finding['statistic']:g}."


def _fix(finding: dict[str, Any]) -> str:
    if "fix" not in finding:
        return ""
    sure = f", confidence {number(finding['confidence'], 2)}" if "confidence" in finding else ""
    return f" Proposed: {finding['fix']}{sure}."


def _rows(finding: dict[str, Any]) -> str:
    rows = finding["rows"]
    if not rows:
        return ""
    listed = ", ".join(str(row) for row in rows[:MOST_ROWS_TOLD])
    return f" ({counted(finding['count'], 'row')}: {listed}{', …' if finding['count'] > MOST_ROWS_TOLD else ''})"
