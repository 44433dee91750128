"""The policy of this installation, and what is known of a version when it's held to it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.context import CallContext
from mcp_server.core.names import parse_reference
from mcp_server.errors import BadConfiguration, CorruptArtefact, InvalidInput, NotFound
from mcp_server.settings import Settings
from mcp_server.workflows.app import App
from mcp_server.workflows.cards import missing_on_card
from mcp_server.workflows.describing import genuine

if TYPE_CHECKING:
    from mcp_server.core.contract import Contract
    from mcp_server.core.gates.outcome import Outcome
    from mcp_server.core.governance.judge import VersionFacts
    from mcp_server.core.governance.policy import Policy, StageRules
    from mcp_server.core.governance.standing import Approvable
    from mcp_server.storage.records import ModelVersion, Standing
    from mcp_server.storage.transaction import Transaction

DAY = 86_400.0


def read(path: Path) -> Policy:
    """The policy in a file.

    Raises:
        InvalidInput: the file can't be read, or isn't a policy.
    """
    from mcp_server.core.governance.policy import read_policy

    return read_policy(text_of(path))


def text_of(path: Path) -> str:
    """The text of a file in which a person states something; of one that is too large, as much as tells that.

    Raises:
        InvalidInput: it can't be read.
    """
    from mcp_server.core.stated_document import MOST_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{str(path)!r} can't be read.", hint="Name a file of YAML in UTF-8.") from None


async def stated(settings: Settings) -> Policy | None:
    """The policy that the settings name, as it is now; None where they name none.

    Raises:
        BadConfiguration: it can't be used, so nothing may pass by it.
    """
    if settings.policy_file is None:
        return None
    try:
        return await asyncio.to_thread(read, settings.policy_file)
    except InvalidInput as refused:
        raise BadConfiguration(f"COURTSIDE_POLICY_FILE: {refused.message}", hint=refused.hint) from None


async def facts_of(tx: Transaction, record: ModelVersion, standing: Standing) -> VersionFacts:
    """What a version is held to a policy by, but for its gates, which have to be measured."""
    from mcp_server.core.contract.keeping import promises
    from mcp_server.core.governance.judge import VersionFacts
    from mcp_server.serving import seals
    from mcp_server.storage import assessments, ledger, models, validations

    wrong = await ledger.wrong(tx, record.name, record.version)
    verification = await models.latest_verification(tx, record.name, record.version)
    proven = None
    if verification is not None and verification.verdict == "passed" and seals.genuine(tx.keys, record, verification):
        proven = verification
    contract = await _contract(tx, record)
    validation = await validations.latest(tx, *_data(record)) if record.dataset else None
    assessment = await assessments.latest(tx, record.name, record.version)
    return VersionFacts(
        reference=f"{record.name}@{record.version}",
        trainer=record.created_by,
        age_days=days(tx.now, record.created_at),
        verified_days=None if proven is None else days(tx.now, proven.at),
        owner=standing.owner,
        tags=standing.tags,
        approvers=standing.approvers(),
        missing=missing_on_card(record, verification, assessment, () if contract is None else contract.sensitive),
        promises=None if contract is None else promises(contract),
        validation=None if validation is None else validation.verdict,
        barred=None
        if proven is None
        else next((one["detail"] for one in proven.checks if one["state"] == "barred"), None),
        unsealed=f"Not as signed: {' and '.join(ledger.TOLD[part] for part in wrong)}." if wrong else None,
    )


async def held(app: App, call: CallContext, rules: StageRules, reference: str, stage: Approvable) -> list[Outcome]:
    """A version against all rules of a stage, with the gates that they state.

    Raises:
        NotFound: there is no such version.
    """
    from mcp_server.core.governance.judge import judge_version
    from mcp_server.storage import governance, models

    gates = await gates_of(app, call, rules, reference)
    async with (await app.storage()).database.reading() as tx:
        record = await models.resolve(tx, reference)
        facts = await facts_of(tx, record, await governance.get(tx, record))
    return judge_version(rules, facts, stage, gates)


async def gates_of(app: App, call: CallContext, rules: StageRules, reference: str) -> list[Outcome]:
    """What becomes of the gates that a stage's rules state."""
    from mcp_server.workflows import gating

    return [] if rules.gates is None else await gating.hold(app, call, reference, rules.gates)


async def _contract(tx: Transaction, record: ModelVersion) -> Contract | None:
    """The contract of the data that it was trained on; None where that's gone, or its record was changed."""
    from mcp_server.core.contract import from_dict
    from mcp_server.storage import datasets

    try:
        return from_dict(genuine(await datasets.get(tx, *_data(record))).contract) if record.dataset else None
    except (NotFound, CorruptArtefact):
        return None


def _data(record: ModelVersion) -> tuple[str, int]:
    name, version = parse_reference(record.dataset)
    return name, version or 1


def days(now: datetime, moment: datetime) -> float:
    """How many days ago a moment is."""
    return (now - moment).total_seconds() / DAY
