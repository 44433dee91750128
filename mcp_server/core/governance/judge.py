"""A version against the rules of a stage: one outcome a rule. What can't be told doesn't pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mcp_server.core.gates.outcome import Outcome, State
from mcp_server.core.governance.policy import StageRules
from mcp_server.core.governance.standing import Approvable

_UNVERIFIED = "Its latest verification didn't pass, or there was none."
_GRAVE = ("pass", "warn", "fail")
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is known of a version.

    Args:
        reference: `name@version`.
        trainer: the principal that trained it.
        age_days: since then.
        verified_days: since its latest verification, where that passed here; None where it didn't, or there was none.
        approvers: of each guarded stage, the principals whose approval stands.
        missing: what its card lacks, in words.
        promises: how many a person made of its data; None where the data is gone.
        validation: the verdict of its data's latest validation, or None.
        barred: what its latest verification found that keeps it from production, or None.
        unsealed: in what it differs from what was signed of it, or None.
    """

    reference: str
    trainer: str
    age_days: float
    verified_days: float | None
    owner: str | None
    tags: Mapping[str, str]
    approvers: Mapping[Approvable, frozenset[str]]
    missing: tuple[str, ...]
    promises: int | None
    validation: str | None
    barred: str | None = None
    unsealed: str | None = None


def judge_version(
    rules: StageRules, facts: VersionFacts, stage: Approvable, gates: Sequence[Outcome] | None = None
) -> list[Outcome]:
    """Every rule of a stage.

    Args:
        gates: what became of the gates that the rules state; left out where they weren't measured.
    """
    judged = (Outcome(facts.reference, name, *found) for name, found in _judged(rules, facts, stage))
    return [*not_barred(facts, stage), *judged, *(gates or ())]


def not_barred(facts: VersionFacts, stage: Approvable) -> list[Outcome]:
    """What is against a stage whatever a policy asks: empty, or one outcome that failed."""
    if facts.unsealed is not None:
        return [Outcome(facts.reference, "sealed", "failed", facts.unsealed)]
    if stage != "production":
        return []
    if facts.verified_days is None:
        return [Outcome(facts.reference, "verified", "failed", _UNVERIFIED)]
    return [] if facts.barred is None else [Outcome(facts.reference, "barred", "failed", facts.barred)]


def _judged(rules: StageRules, facts: VersionFacts, stage: Approvable) -> Iterator[tuple[str, tuple[State, str]]]:
    if rules.verified_within_days is not None:
        yield "verified_within_days", _verified(facts.verified_days, rules.verified_within_days)
    if rules.approvals:
        yield "approvals", _approved(rules, facts, stage)
    if rules.owner:
        yield "owner", _kept(facts.owner is not None, f"Its owner is {facts.owner}.", "It has no owner.")
    if rules.tags:
        lacking = [key for key in rules.tags if key not in facts.tags]
        yield "tags", _kept(not lacking, "It has each.", f"It lacks {', '.join(lacking)}.")
    if rules.card_complete:
        lacks = ", ".join(facts.missing[:MOST_NAMED])
        yield "card_complete", _kept(not facts.missing, "Its card is complete.", f"Its card lacks {lacks}.")
    if rules.data_contract:
        yield "data_contract", _promised(facts.promises)
    if rules.validation is not None:
        yield "validation", _validated(facts.validation, rules.validation)
    if rules.max_age_days is not None:
        detail = f"{facts.age_days:.1f} days old; at most {rules.max_age_days:g}."
        yield "max_age_days", _kept(facts.age_days <= rules.max_age_days, detail, detail)


def _verified(days: float | None, most: float) -> tuple[State, str]:
    if days is None:
        return "failed", _UNVERIFIED
    detail = f"It passed its verification {days:.1f} days ago; at most {most:g}."
    return _kept(days <= most, detail, detail)


def _approved(rules: StageRules, facts: VersionFacts, stage: Approvable) -> tuple[State, str]:
    approvers = facts.approvers.get(stage, frozenset())
    counted = approvers - {facts.trainer} if rules.four_eyes else approvers
    others = " by others than who trained it" if rules.four_eyes else ""
    detail = f"{len(counted)} of {rules.approvals} approvals for {stage}{others}."
    return _kept(len(counted) >= rules.approvals, detail, detail)


def _promised(promises: int | None) -> tuple[State, str]:
    if promises is None:
        return "unknown", "The data that it was trained on is gone."
    return _kept(promises > 0, f"{promises} promises of a person.", "Nobody promised anything of its data.")


def _validated(verdict: str | None, allowed: str) -> tuple[State, str]:
    if verdict not in _GRAVE:
        return "unknown", "The data that it was trained on was never validated."
    detail = f"The latest verdict on its data is {verdict}; {allowed} is allowed."
    return _kept(_GRAVE.index(verdict) <= _GRAVE.index(allowed), detail, detail)


def _kept(kept: bool, yes: str, no: str) -> tuple[State, str]:
    return ("passed", yes) if kept else ("failed", no)
