"""What the tools for data protection and tidying answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mcp_server.workflows.reply import Reply, counted

MOST_TOLD = 20


class Erased(Reply):
    """What is stored of a person, and whether it was erased."""

    status: Literal["planned", "erased", "nothing found"]
    confirm: str | None = None
    datasets: list[dict[str, Any]] = Field(default_factory=list)
    predictions: int = 0
    answers: int = 0
    models_removed: list[str] = Field(default_factory=list)
    models_to_retrain: list[str] = Field(default_factory=list)
    exported: str | None = None
    exports: int = 0
    reports: list[str] = Field(default_factory=list)
    schedules: list[str] = Field(default_factory=list)
    cleaned: list[str] = Field(default_factory=list)
    not_reached: list[str] = Field(default_factory=list)
    outside: list[dict[str, Any]] = Field(default_factory=list)
    log_emptied: bool | None = None
    copies_left: dict[str, int] | None = None

    def lines(self) -> list[str]:
        if self.status == "nothing found":
            where = " in this data set" if self.outside else ""
            return [f"Nothing is stored of this person under that column{where}.", *self._outside(), *self._left()]
        done = self.status == "erased"
        rows = sum(one["rows"] for one in self.datasets)
        told = [
            f"{'Erased' if done else 'To be erased'}: {counted(rows, 'row')} of "
            f"{counted(len(self.datasets), 'data set version')}, {counted(self.predictions, 'stored prediction')}, "
            f"{counted(self.answers, 'stored answer')}."
        ]
        told += [f"- {one['dataset']}: {counted(one['rows'], 'row')}" for one in self.datasets[:MOST_TOLD]]
        elsewhere = {one["dataset"] for one in self.outside}
        records = [reference for reference in self.cleaned if reference not in elsewhere]
        if records:
            told.append(f"Without rows of theirs, but with the value or a trace in their record: {_listed(records)}.")
        told += self._outside()
        told += [f"Not reached: {one} without the column." for one in self.not_reached[:MOST_TOLD]]
        if len(self.not_reached) > MOST_TOLD:
            told.append(f"{len(self.not_reached) - MOST_TOLD} more are not reached, see not_reached.")
        if self.models_removed:
            told.append(f"Removed, as their files hold the person's values: {_listed(self.models_removed)}.")
        if self.models_to_retrain:
            told.append(
                f"Trained with these rows: {_listed(self.models_to_retrain)}. They answer on, but can't be verified "
                "any more: train them again."
            )
        if self.exported:
            told.append(f"The person's rows are in {self.exported} in the data folder.")
        if self.exports:
            told.append(f"{counted(self.exports, 'exported file')} of this person {'went' if done else 'will go'} too.")
        for what, listed in (("Reports", self.reports), ("Schedules", self.schedules)):
            if listed:
                told.append(f"{what} that quote the value {'went' if done else 'will go'}: {_listed(listed)}.")
        return told + self._left()

    def _outside(self) -> list[str]:
        if not self.outside:
            return []
        held = [f"{one['dataset']} ({counted(one['rows'], 'row')})" for one in self.outside]
        told = [f"Rows of theirs stay outside this data set: {_listed(held)}. A plan without dataset reaches them."]
        traced = [one["dataset"] for one in self.outside if one["dataset"] in self.cleaned]
        if traced:
            told.append(f"Only the record loses its trace, the rows stay: {_listed(traced)}.")
        return told

    def _left(self) -> list[str]:
        if self.copies_left is None:
            return []
        if not self.copies_left:
            return ["No copy of the value is left in the raw bytes of the data folder."]
        return [f"{count} copies are left in {name}." for name, count in list(self.copies_left.items())[:MOST_TOLD]]


class Deleted(Reply):
    """What a deletion takes with it, and whether it was done."""

    status: Literal["planned", "deleted"]
    confirm: str | None = None
    deletes: list[str]
    keeps: list[str] = Field(default_factory=list)
    blocked_by: list[str] = Field(default_factory=list)
    files: int = 0
    freed_mib: float = 0.0

    def lines(self) -> list[str]:
        done = self.status == "deleted"
        told = [f"{'Deleted' if done else 'To be deleted'}: {_listed(self.deletes)}."]
        if self.blocked_by:
            told.append(f"Depend on it: {_listed(self.blocked_by)}. Only cascade deletes them too.")
        told += self.keeps
        if done:
            told.append(f"{counted(self.files, 'file')} removed, {self.freed_mib:g} MiB.")
        return told


class Reviewed(Reply):
    """Who answers for a version, which stage it has, and who approves it for which."""

    model: str
    stage: str
    owner: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    approvals: list[dict[str, str]] = Field(default_factory=list)
    guarded: list[str] = Field(default_factory=list)
    policy: str | None = None
    changed: list[str] = Field(default_factory=list)
    not_as_signed: list[str] = Field(default_factory=list)
    lacks: list[dict[str, str]] = Field(default_factory=list)

    def lines(self) -> list[str]:
        tags = ", ".join(f"{key}={value}" for key, value in self.tags.items())
        told = [f"{self.model}: {self.stage}; owner {self.owner or 'none'}; tags {tags or 'none'}."]
        told += [
            f"An approval for {one['stage']} doesn't count: its key was revoked, or its row was changed."
            if one.get("state") == "unsigned"
            else f"Approved for {one['stage']} by {one['by']}, {one['at']}."
            for one in self.approvals
        ]
        told += [f"Not as signed: {what}; none of that counts." for what in self.not_as_signed]
        if self.lacks:
            told.append("For production it lacks:")
            told += [f"- {one['rule']}: {one['found']} {one['step']}" for one in self.lacks]
        elif self.stage != "production":
            told.append("Nothing is known to keep it from production.")
        told.append(f"Changed: {', '.join(self.changed)}." if self.changed else "Nothing was changed.")
        if self.policy is None:
            return [*told, "No policy guards a stage: COURTSIDE_POLICY_FILE names none."]
        return [*told, f"The policy ({self.policy[:19]}…) guards {' and '.join(self.guarded)}."]


def _listed(names: list[str]) -> str:
    rest = len(names) - MOST_TOLD
    return ", ".join(names[:MOST_TOLD]) + (f" and {rest} more" if rest > 0 else "")
