"""Setting who answers for a version and which stage it has, where the policy lets it; in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mcp_server.context import CallContext
from mcp_server.core.governance.standing import FIRST, Approvable, Stage, check_owner, check_tags
from mcp_server.errors import InvalidInput, NotFound, PolicyUnmet
from mcp_server.settings import Settings, parse_api_keys
from mcp_server.workflows import policy as policies
from mcp_server.workflows.admin_answers import Reviewed
from mcp_server.workflows.app import App

if TYPE_CHECKING:
    from mcp_server.core.gates.outcome import Outcome
    from mcp_server.core.governance.policy import Policy
    from mcp_server.storage.records import ModelVersion, Standing
    from mcp_server.storage.transaction import Transaction

MOST_TOLD = 8
MOST_LACKING = 12


@dataclass(frozen=True, slots=True)
class Review:
    """What is decided about a version; what isn't given stays.

    Args:
        tags: key to value, or None to remove it.
        approve, revoke: the stage that the caller approves it for, or that every approval is taken back of.
        note: why, for an approval.
    """

    model: str
    owner: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    stage: Stage | None = None
    approve: Approvable | None = None
    revoke: Approvable | None = None
    note: str | None = None

    @property
    def asks(self) -> bool:
        return any((self.owner, self.tags, self.stage, self.approve, self.revoke))


async def review(app: App, call: CallContext, asked: Review) -> Reviewed:
    """Decide about a version, or show what was decided.

    Raises:
        InvalidInput: an owner, tag or note that can't be; NotFound: no such version, or no approval to take back.
        CorruptArtefact: what was decided before isn't as signed; nothing is changed.
        PolicyUnmet: the policy doesn't let it into the stage, or the caller approve it; nothing was changed.
        BadConfiguration: the policy can't be read.
    """
    _check(asked, app.settings)
    from mcp_server.storage import governance, ledger, models

    policy = await policies.stated(app.settings)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        record = await models.resolve(tx, asked.model)
        if not asked.asks:
            return await _told(tx, record, await governance.get(tx, record), policy, [])
    reference = f"{record.name}@{record.version}"
    guarded = _guarded(policy, asked.stage)
    # Measured before the change, by calls of their own: a key stands for the one change below.
    gates: list[Outcome] = []
    if guarded:
        policy, into = guarded
        gates = await policies.gates_of(app, replace(call, key=None), policy.stages[into], reference)
    async with storage.database.transaction(call) as tx:
        record = await models.resolve(tx, reference)
        await ledger.require(tx, record.name, record.version)
        before = await governance.get(tx, record)
        changed = await _decide(tx, call, record, before, asked, policy)
        owner = asked.owner or before.owner
        if owner != before.owner:
            await governance.set_standing(tx, record, stage=before.stage, owner=owner, policy=before.policy)
            changed.append(f"owner {owner}")
        if asked.stage in ("staging", "production"):
            await _require(tx, record, asked.stage, policy if guarded else None, gates)
        by = guarded[0].digest if guarded else None
        if asked.stage is not None and (asked.stage, by) != (before.stage, before.policy):
            await governance.set_standing(tx, record, stage=asked.stage, owner=owner, policy=by)
            changed.append(f"stage {before.stage} to {asked.stage}")
        answer = await _told(tx, record, await governance.get(tx, record), policy, changed)
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"model:{reference}", changed=changed, policy=None if policy is None else policy.digest)
    return answer


def _check(asked: Review, settings: Settings) -> None:
    if (asked.approve or asked.revoke) and not (asked.note or "").strip():
        raise InvalidInput("An approval needs a note, and so does taking it back.", hint="Say what it rests on.")
    if asked.note and ("\0" in asked.note or not _encodes(asked.note)):
        # PostgreSQL stores neither; a note is refused alike wherever it would go.
        raise InvalidInput(
            "The note holds a NUL character or half of a surrogate pair.", hint="Send text that is valid Unicode."
        )
    if asked.note and not (asked.approve or asked.revoke):
        raise InvalidInput("A note goes with an approval.", hint="Give approve or revoke, or leave note out.")
    if asked.approve and asked.approve == asked.revoke:
        raise InvalidInput("approve and revoke name the same stage.", hint="Do one of them.")
    if asked.owner is not None:
        keys = () if settings.api_keys is None else parse_api_keys(settings.api_keys)
        check_owner(asked.owner, frozenset(name for name, _, _ in keys))
    check_tags({key: value for key, value in asked.tags.items() if value is not None})


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _guarded(policy: Policy | None, stage: Stage | None) -> tuple[Policy, Approvable] | None:
    """The policy and the stage that it guards, where a version is to get there."""
    if policy is None or stage not in ("staging", "production") or stage not in policy.stages:
        return None
    return policy, stage


async def _decide(
    tx: Transaction, call: CallContext, record: ModelVersion, before: Standing, asked: Review, policy: Policy | None
) -> list[str]:
    """Tags and approvals; what changed, in words of ours."""
    from mcp_server.storage import governance

    changed = []
    if asked.tags:
        merged = {**before.tags, **asked.tags}
        wanted = {key: value for key, value in merged.items() if value is not None}
        check_tags(wanted)
        if wanted != before.tags:
            await governance.set_tags(tx, record, wanted)
            changed.append("tags")
    if asked.revoke:
        if not await governance.revoke(tx, record, asked.revoke, by=call.caller.id):
            raise NotFound(
                f"No approval for {asked.revoke} stands.", hint="review_model with the model alone shows which do."
            )
        changed.append(f"approvals for {asked.revoke} taken back")
    if asked.approve:
        rules = None if policy is None else policy.stages.get(asked.approve)
        if rules is not None and rules.four_eyes and call.caller.id == record.created_by:
            raise PolicyUnmet(
                f"{call.caller.id} trained {record.name}@{record.version}, and the policy asks for the approval of "
                f"someone else for {asked.approve}.",
                hint="Let another principal with the scope admin approve it.",
                details={"unmet": ["four_eyes"]},
            )
        if await governance.approve(
            tx, record, asked.approve, approver=call.caller.id, note=(asked.note or "").strip()
        ):
            changed.append(f"approved for {asked.approve} by {call.caller.id}")
    return changed


async def _require(
    tx: Transaction, record: ModelVersion, stage: Approvable, policy: Policy | None, gates: Sequence[Outcome]
) -> None:
    from mcp_server.core.governance.judge import judge_version, not_barred
    from mcp_server.storage import governance

    facts = await policies.facts_of(tx, record, await governance.get(tx, record))
    judged = not_barred(facts, stage) if policy is None else judge_version(policy.stages[stage], facts, stage, gates)
    unmet = [one for one in judged if one.state != "passed"]
    if unmet and policy is None:
        raise PolicyUnmet(
            f"{facts.reference} can't be in {stage}; nothing was changed. {unmet[0].detail}",
            hint="verify_model says what is against it; docs/guides/keys.md how membership is overridden.",
            details={"unmet": [one.gate for one in unmet]},
        )
    if unmet:
        told = " ".join(f"{one.gate}: {one.detail}" for one in unmet[:MOST_TOLD])
        more = f" And {len(unmet) - MOST_TOLD} more." if len(unmet) > MOST_TOLD else ""
        raise PolicyUnmet(
            f"The policy doesn't let {facts.reference} into {stage}; nothing was changed. {told}{more}",
            hint="Meet each rule, then repeat; docs/guides/governance.md says what each asks.",
            details={"unmet": [one.gate for one in unmet]},
        )


async def _told(
    tx: Transaction, record: ModelVersion, standing: Standing, policy: Policy | None, changed: list[str]
) -> Reviewed:
    from mcp_server.storage import governance, ledger

    reference = f"{record.name}@{record.version}"
    wrong = await ledger.wrong(tx, record.name, record.version)
    if "standing" in wrong:
        # Nothing of it is known to have been decided by anyone.
        standing = replace(standing, stage=FIRST, owner=None, policy=None, tags={}, approvals=(), unsigned=())
    notes = {f"{one.stage} by {one.approver}": one.note for one in standing.approvals}
    others = [
        f"{name}@{version}"
        for name, version, _ in await governance.in_stage(tx, ["production"], name=record.name)
        if version != record.version
    ]
    following = "model://" + reference + "/card shows it."
    if standing.stage in ("staging", "production"):
        following = f"predict with model {record.name}@{standing.stage} answers with it."
    if standing.stage == "production" and others:
        too = f"{', '.join(others[:MOST_TOLD])} {'is' if len(others) == 1 else 'are'} in production too"
        following = f"{too}: archive what isn't to answer."
    return Reviewed(
        model=reference,
        stage=standing.stage,
        owner=standing.owner,
        tags=dict(standing.tags),
        approvals=[
            {"stage": one.stage, "by": one.approver, "at": one.at.isoformat(timespec="seconds")}
            for one in standing.approvals
        ]
        # Who is in a row that nobody signed isn't known to have approved anything.
        + [{"stage": one.stage, "state": "unsigned"} for one in standing.unsigned],
        guarded=[] if policy is None else sorted(policy.stages),
        policy=None if policy is None else policy.digest,
        changed=changed,
        not_as_signed=[ledger.TOLD[part] for part in wrong],
        lacks=await _lacking(tx, record, standing, policy),
        next=following,
        untrusted={"notes": notes} if notes else None,
    )


_STEPS = {
    "sealed": "docs/guides/governance.md, Not as signed, says what a person does.",
    "verified": "Call verify_model.",
    "barred": "docs/guides/keys.md says how membership is overridden; or train again.",
    "verified_within_days": "Call verify_model.",
    "approvals": "Someone calls review_model with approve production and a note.",
    "owner": "Call review_model with owner.",
    "tags": "Call review_model with tags.",
    "card_complete": "For groups call explain_model with groups; intervals need more test rows.",
    "data_contract": "State promises by a step contract of prepare_data, then train on it.",
    "validation": "Call validate_data on its data.",
    "max_age_days": "Call train_model and move the new version.",
    "gates": "They are measured when it is moved; courtside check measures them before.",
}


async def _lacking(
    tx: Transaction, record: ModelVersion, standing: Standing, policy: Policy | None
) -> list[dict[str, str]]:
    """What a version that isn't in production would need for it, as far as that's known without measuring; bounded."""
    from mcp_server.core.governance.judge import judge_version, not_barred

    if standing.stage == "production":
        return []
    facts = await policies.facts_of(tx, record, standing)
    rules = None if policy is None else policy.stages.get("production")
    judged = not_barred(facts, "production") if rules is None else judge_version(rules, facts, "production")
    lacking = [{"rule": one.gate, "found": one.detail} for one in judged if one.state != "passed"]
    if rules is not None and rules.gates is not None:
        lacking.append({"rule": "gates", "found": "Not measured by a look."})
    return [one | {"step": _STEPS[one["rule"]]} for one in lacking[:MOST_LACKING]]
