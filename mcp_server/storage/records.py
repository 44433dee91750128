"""What storage hands out and takes in: frozen values, no rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from mcp_server.core.governance.standing import Approvable, Stage

T = TypeVar("T")

Json = dict[str, Any]
Verdict = Literal["passed", "failed"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RunStatus = Literal["running", "succeeded", "failed", "cancelled"]

FINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A bounded part of a list.

    Args:
        items: in the list's order.
        next_cursor: hand it back for the next part; None at the end.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """An immutable version of a data set.

    Args:
        version: from 1 for each name; a deleted version's number isn't given again.
        digest: `sha256:<hex>`; unique under the name.
        artefact: digest of the Parquet bytes.
        parent: `name@version` that it was made from, or None.
    """

    name: str
    version: int
    digest: str
    artefact: str
    rows: int
    columns: int
    contract: Json
    profile: Json
    source: Json
    parent: str | None
    created_at: datetime
    created_by: str

    @property
    def parents(self) -> list[str]:
        """Every version that it was made from, as `name@version`: `parent` first, then what a preparation joined."""
        joined = [one["dataset"] for one in self.source.get("inputs", [])]
        return list(dict.fromkeys([*([] if self.parent is None else [self.parent]), *joined]))


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The newest version of a data set, without what is large.

    Args:
        version: the newest.
    """

    name: str
    version: int
    digest: str
    rows: int
    columns: int
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What one validation of a data set version said.

    Args:
        baseline: `name@version` that it was compared with, or None.
        suite: digest of the suite of Great Expectations that judged; None for Courtside's own checks.
        verdict: `pass`, `warn` or `fail`.
        rules: rule to the rows that it concerned (`count`), its number of findings (`findings`) and the worst severity.
    """

    version: int
    baseline: str | None
    suite: str | None
    at: datetime
    verdict: str
    rules: Json


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Rows that were suggested to be labelled.

    Args:
        dataset: `name@version` whose labelled rows the models learned from; digest: the one that it had.
        pool: `name@version` whose rows were chosen, with its digest; None where they're those of `dataset`.
        rows: their numbers, from 1, the worthiest first.
        expected: the gain tried out on labelled rows; None where that couldn't be told.
        gain: what the labels gained that came, and how many came (`labelled`); None before any did.
    """

    id: int
    dataset: str
    digest: str
    pool: str | None
    pool_digest: str | None
    rows: tuple[int, ...]
    expected: Json | None
    gain: Json | None
    at: datetime

    @property
    def labelled(self) -> int:
        """How many of the rows had a label when the gain was last measured."""
        return 0 if self.gain is None else int(self.gain["labelled"])

    @property
    def open(self) -> bool:
        """Whether further labels may come."""
        return self.labelled < len(self.rows)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version of a model.

    Args:
        version: from 1 for each name; a deleted version's number isn't given again.
        digest: over the canonical serving form, contract and parameters; unique under the name.
        task: `binary`, `multiclass` or `regression`.
        artefact: digest of the serving form's bytes.
        training_artefact: digest of the trained estimator's bytes, or None where there is none.
        manifest: what `signature` signs, in its canonical form.
        dataset: `name@version` that it was trained on.
    """

    name: str
    version: int
    digest: str
    task: str
    target: str
    artefact: str
    training_artefact: str | None
    manifest: Json
    signature: bytes
    metrics: Json
    dataset: str
    run_id: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A tool that runs at certain times.

    Args:
        cron: five fields, in `timezone`, an IANA name.
        created_by: the principal for whom it runs.
        next_at: when it's to run next.
        recent: how the latest runs ended, the oldest first: `due`, `at`, `code` (`ok`, `skipped` or an error's), `said`
            and, where it began one, `job`.
    """

    name: str
    cron: str
    timezone: str
    tool: str
    arguments: Json
    created_by: str
    created_at: datetime
    signature: bytes
    next_at: datetime
    recent: list[Json]


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval of a model version that stands.

    Args:
        approver: the principal's id.
        note: text of a person.
    """

    stage: Approvable
    approver: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Who answers for a model version, and how far it has come.

    Args:
        policy: digest of the policy that let it into its stage, or None.
        at: when stage or owner were last set; None where they never were.
        approvals: those that stand, the oldest first.
        unsigned: those that don't count, since no key that is trusted signed what the row says.
    """

    name: str
    version: int
    stage: Stage
    owner: str | None
    policy: str | None
    at: datetime | None
    tags: Mapping[str, str]
    approvals: tuple[Approval, ...]
    unsigned: tuple[Approval, ...] = ()

    def approvers(self) -> dict[Approvable, frozenset[str]]:
        """Of each guarded stage, who approves it."""
        stages = {one.stage for one in self.approvals}
        return {stage: frozenset(one.approver for one in self.approvals if one.stage == stage) for stage in stages}


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a model version treats the groups of some columns.

    Args:
        name, version: of the model.
        dataset: `name@version` of the rows that it was judged on.
        found: `rows`, `positive` and `columns`, as the operation `judge_groups` tells them; names of groups are from
            the data, but for those of personal columns.
    """

    name: str
    version: int
    dataset: str
    at: datetime
    found: Json


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A version of a model, without what is large, and what its last verification said.

    Args:
        verdict: of the latest verification; None where there was none.
        verified_at: when that was.
        stage, owner: of its standing.
    """

    name: str
    version: int
    digest: str
    task: str
    target: str
    metrics: Json
    dataset: str
    run_id: str
    created_at: datetime
    created_by: str
    verdict: Verdict | None
    verified_at: datetime | None
    stage: Stage
    owner: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """One verification of a model version.

    Args:
        checks: one object a check, as the verifier writes them.
    """

    name: str
    version: int
    verdict: Verdict
    checks: list[Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what went in and what came out.

    Args:
        dataset: `name@version` that was learned from; empty where another system ran it and named none.
        metrics: `test` (name to value, low and high) and what else the training measured; of a run of another system
            `reported`.
        algorithm, target: what it was asked to fit; None where that isn't known.
        facts: what was noted beside: `data` (its digest and rows), `environment` (library to version), `cost`
            (`seconds` and `trials`), `artefacts` (name to digest), `curve` (loss by iteration, or by rows), `mlflow`
            (whether it was copied there) and, of a run of another system, `source` and `registered`
            (what its model files are).
    """

    id: str
    model: str
    dataset: str
    parameters: Json
    metrics: Json
    status: RunStatus
    job_id: str | None
    started_at: datetime
    ended_at: datetime | None
    algorithm: str | None = None
    target: str | None = None
    facts: Json | None = None


@dataclass(frozen=True, slots=True)
class MetricBound:
    """A bound of a run's metric on test rows."""

    metric: str
    relation: Literal["<", "<=", ">", ">="]
    value: float


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted, and in which order.

    Args:
        part: of the model's name, in any case.
        model, target, algorithm, status: exactly.
        dataset: `name@version`, or `name` for all of its versions.
        since: aware; when they started at the earliest.
        bounds: all of them hold.
        sort: a metric; runs without it are left out. None for the newest first.
        descending: whether the highest of `sort` comes first.
    """

    part: str | None = None
    model: str | None = None
    dataset: str | None = None
    target: str | None = None
    algorithm: str | None = None
    status: RunStatus | None = None
    since: datetime | None = None
    bounds: tuple[MetricBound, ...] = ()
    sort: str | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of long work.

    Args:
        progress: 0.0 to 1.0.
        error: `code`, `message`, `hint` and `details` of a failure.
        runtime_version: of the program that may run it.
        worker: who runs it, or None.
        heartbeat_at: when that worker was last heard of.
    """

    id: str
    kind: str
    arguments: Json
    caller: str
    state: JobState
    progress: float
    message: str
    result: Json | None
    error: Json | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested: bool
    runtime_version: str
    worker: str | None = None
    heartbeat_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is left of a deleted version or run.

    Args:
        version: 0 for a run, whose id is its name.
        digest: the version's; None for a run.
        request_id: of the call that deleted it, for the audit row.
    """

    kind: str
    name: str
    version: int
    digest: str | None
    at: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Something that changed, was refused or was decided.

    Args:
        id: from 1, in the order of commits.
        action: `change`, `deny`, ...
        outcome: `ok` or an error code.
        subject: what it was about, such as `model:games@3`.
        place: in the chain, from 1 and without gaps.
        chain: digest of this row and of all before it.
    """

    id: int
    at: datetime
    request_id: str
    caller: str
    tool: str
    action: str
    outcome: str
    subject: str | None
    arguments_digest: str
    trace_id: str | None
    details: Json
    place: int
    chain: str


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """A prediction to be stored; the same record stored twice is stored once.

    Args:
        id: from `ids.new_ids("p", ...)`.
        at: aware; when it was made.
        digest: of the model version.
        features: column -> JSON scalar, as the caller sent them.
        value: the answer: a class or a number.
        probability: of `value`, 0.0 to 1.0, or None for a number.
        answer: what else was answered (`probabilities`, `interval`).
        flags: one object a flag.
        personal: the columns of `features` that are stored as a keyed hash.
    """

    id: str
    at: datetime
    model: str
    version: int
    digest: str
    caller: str
    request_id: str
    features: Mapping[str, Any]
    value: str | float
    probability: float | None = None
    answer: Json = field(default_factory=dict)
    flags: list[Json] = field(default_factory=list)
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction as it was stored: decrypted, personal columns hashed."""

    id: str
    at: datetime
    model: str
    version: int
    digest: str
    caller: str
    request_id: str
    features: Json
    value: str | float
    probability: float | None
    answer: Json
    flags: list[Json]
