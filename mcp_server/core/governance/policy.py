"""The policy: what a model version needs for a stage, by a closed set of rules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mcp_server.core.canonical import digest
from mcp_server.core.gates.document import Days, VersionGates
from mcp_server.core.governance.standing import MOST_TAGS, TAG_KEY, Approvable
from mcp_server.core.stated_document import read_stated

_HINT = "docs/guides/governance.md has an example."

TagKey = Annotated[str, StringConstraints(pattern=f"^{TAG_KEY}$")]


class _Stated(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageRules(_Stated):
    """What is asked of a version for one stage; what isn't stated isn't asked.

    Args:
        verified_within_days: its latest verification passed, and isn't older.
        approvals: by how many people it's approved for the stage.
        four_eyes: who trained it doesn't count among them, and can't approve it.
        owner: it has one.
        tags: keys that it has, with any value.
        card_complete: nothing is missing on its card; see `missing_on_card`.
        data_contract: a person promised something of the data that it was trained on.
        validation: the gravest verdict of the latest validation of that data that is allowed; screening is part of it.
        max_age_days: since it was trained.
        gates: what it's held to, as in a file of gates; that its verification passes then, and the limits of its data's
            contract, are asked too.
    """

    verified_within_days: Days | None = None
    approvals: Annotated[int, Field(ge=0, le=20)] = 0
    four_eyes: bool = False
    owner: bool = False
    tags: Annotated[list[TagKey], Field(max_length=MOST_TAGS)] = []
    card_complete: bool = False
    data_contract: bool = False
    validation: Literal["pass", "warn"] | None = None
    max_age_days: Days | None = None
    gates: VersionGates | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("it asks nothing")
        if self.four_eyes and not self.approvals:
            raise ValueError("four_eyes is about approvals, and none are asked")
        return self


class Policy(_Stated):
    """What each guarded stage asks."""

    stages: Annotated[dict[Approvable, StageRules], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """Which policy it is: another one has another digest, however it's written."""
        return digest(self.model_dump(mode="json"))


def read_policy(text: str) -> Policy:
    """Read a policy.

    Args:
        text: YAML, or JSON, which is YAML too.
    Raises:
        InvalidInput: it can't be read, names what isn't known, or asks nothing.
    """
    return read_stated(text, Policy, called="rules of the policy", parts="stages", hint=_HINT)
