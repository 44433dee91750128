"""The tables, in types that SQLite and PostgreSQL both keep exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite itself would hand it back without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone can't be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def sqlite_moment(at: datetime) -> str:
    """How `UtcDateTime` writes a moment in SQLite; for the writer that goes around SQLAlchemy.

    >>> sqlite_moment(datetime(2026, 1, 2, 3, 4, 5, 6, UTC))
    '2026-01-02 03:04:05.000006'
    """
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _exact_json() -> JSON:
    # JSONB rewrites numbers (1e16 comes back as an integer, -0.0 as 0) and forgets the order of keys, which would
    # break the digests and signatures over what is stored. Nothing is searched inside these values.
    return JSON(none_as_null=True)


_big = BigInteger().with_variant(Integer, "sqlite")  # Only INTEGER counts up by itself in SQLite.
_name = String(64)
_id = String(64)
_digest = String(80)
_caller = String(256)


def _required(name: str, kind: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, nullable=False, **options)


datasets = Table(
    "datasets",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("name", _name),
    _required("folded", _name),
    _required("version", Integer),
    _required("digest", _digest),
    _required("artefact", _digest),
    _required("rows", BigInteger),
    _required("columns", Integer),
    _required("contract", _exact_json()),
    _required("profile", _exact_json()),
    _required("source", _exact_json()),
    Column("parent", String(80)),
    _required("created_at", UtcDateTime),
    _required("created_by", _caller),
    UniqueConstraint("folded", "version"),
    UniqueConstraint("folded", "digest"),
    Index(None, "digest"),
)

validations = Table(
    "validations",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("folded", _name),
    _required("version", Integer),
    Column("baseline", String(80)),
    Column("suite", String(80)),
    _required("at", UtcDateTime),
    _required("verdict", String(10)),
    _required("rules", _exact_json()),
    _required("request_id", String(128)),
    UniqueConstraint("request_id"),
    Index(None, "folded", "id"),
)

suggestions = Table(
    "suggestions",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("folded", _name),
    _required("dataset", String(80)),
    _required("digest", _digest),
    _required("pool", String(80)),
    _required("pool_digest", _digest),
    _required("count", Integer),
    _required("seed", BigInteger),
    _required("rows", _exact_json()),
    Column("expected", _exact_json()),
    Column("gain", _exact_json()),
    _required("at", UtcDateTime),
    UniqueConstraint("folded", "digest", "pool", "pool_digest", "count", "seed"),
    Index(None, "folded", "id"),
)

models = Table(
    "models",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("name", _name),
    _required("folded", _name),
    _required("version", Integer),
    _required("digest", _digest),
    _required("task", String(20)),
    _required("target", Text),
    _required("artefact", _digest),
    Column("training_artefact", _digest),
    _required("manifest", _exact_json()),
    _required("signature", LargeBinary),
    _required("metrics", _exact_json()),
    _required("dataset", String(80)),
    _required("run_id", _id),
    _required("created_at", UtcDateTime),
    _required("created_by", _caller),
    UniqueConstraint("folded", "version"),
    UniqueConstraint("folded", "digest"),
    Index(None, "run_id"),
    Index(None, "dataset"),
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("name", _name),
    _required("version", Integer),
    _required("verdict", String(10)),
    _required("checks", _exact_json()),
    _required("at", UtcDateTime),
    Index(None, "name", "version", "id"),
)

assessments = Table(
    "assessments",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("name", _name),
    _required("version", Integer),
    _required("dataset", String(80)),
    _required("at", UtcDateTime),
    _required("found", _exact_json()),
    _required("request_id", String(128)),
    UniqueConstraint("request_id"),
    Index(None, "name", "version", "id"),
)

standings = Table(
    "standings",
    metadata,
    Column("name", _name, primary_key=True),
    Column("version", Integer, primary_key=True),
    _required("stage", String(12)),
    Column("owner", _caller),
    Column("policy", _digest),
    _required("at", UtcDateTime),
    Index(None, "stage", "name", "version"),
)

tags = Table(
    "tags",
    metadata,
    Column("name", _name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("key", String(32), primary_key=True),
    _required("value", String(64)),
    Index(None, "key", "value"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("name", _name),
    _required("version", Integer),
    _required("stage", String(12)),
    _required("approver", _caller),
    _required("note", Text),
    _required("at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("revoked_by", _caller),
    _required("signature", LargeBinary),
    Index(None, "name", "version", "id"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("folded", _name, primary_key=True),
    _required("name", _name),
    _required("cron", String(100)),
    _required("timezone", String(64)),
    _required("tool", String(64)),
    _required("arguments", _exact_json()),
    _required("created_by", _caller),
    _required("created_at", UtcDateTime),
    _required("signature", LargeBinary),
    _required("next_at", UtcDateTime),
    _required("recent", _exact_json()),
)

seals = Table(
    "seals",
    metadata,
    Column("place", _big, primary_key=True, autoincrement=False),
    _required("name", _name),
    _required("version", Integer),
    _required("part", String(10)),
    _required("state", _digest),
    _required("chain", _digest),
)

seals_head = Table(
    "seals_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # There is one.
    _required("place", _big),
    _required("chain", _digest),
    _required("signature", LargeBinary),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _id, primary_key=True),
    _required("model", _name),
    _required("dataset", String(80)),
    _required("parameters", _exact_json()),
    _required("metrics", _exact_json()),
    _required("status", String(10)),
    Column("job_id", _id),
    _required("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("algorithm", String(64)),
    Column("target", String(256)),
    Column("facts", _exact_json()),
    Index(None, "model", "id"),
    Index(None, "job_id"),
    # Everything that runs are filtered by, in the order of a list: any filter reads this index alone.
    Index(None, "id", "model", "dataset", "target", "algorithm", "status", "started_at"),
)

run_metrics = Table(
    "run_metrics",
    metadata,
    Column("run_id", _id, primary_key=True),
    Column("name", String(64), primary_key=True),
    _required("value", Float(53)),
    Index(None, "name", "value", "run_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _id, primary_key=True),
    _required("kind", String(40)),
    _required("arguments", _exact_json()),
    _required("caller", _caller),
    _required("state", String(10)),
    _required("progress", Float),
    _required("message", Text),
    Column("result", _exact_json()),
    Column("error", _exact_json()),
    _required("created_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    _required("cancel_requested", Boolean),
    _required("runtime_version", String(64)),
    Column("worker", String(128)),
    Column("heartbeat_at", UtcDateTime),
    Index(None, "state", "id"),
    Index(None, "caller", "id"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", _id, primary_key=True),
    _required("at", UtcDateTime),
    _required("created_by", _caller),
    _required("title", Text),
    _required("asked", _exact_json()),
    _required("markdown", Text),
    _required("facts", _exact_json()),
    Column("pictures_artefact", _digest),
    _required("digest", _digest),
)

deletions = Table(
    "deletions",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("kind", String(20)),
    _required("folded", _name),
    _required("name", _name),
    _required("version", Integer),
    Column("digest", _digest),
    _required("at", UtcDateTime),
    _required("request_id", String(128)),
    UniqueConstraint("kind", "folded", "version"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _big, primary_key=True, autoincrement=True),
    _required("at", UtcDateTime),
    _required("request_id", String(128)),
    _required("caller", _caller),
    _required("tool", _name),
    _required("action", String(20)),
    _required("outcome", String(40)),
    Column("subject", String(256)),
    _required("arguments_digest", _digest),
    Column("trace_id", String(32)),
    _required("details", _exact_json()),
    _required("place", _big),
    _required("chain", _digest),
    Index(None, "caller", "id"),
    Index(None, "request_id"),
    Index(None, "at"),
    UniqueConstraint("place"),
    sqlite_autoincrement=True,  # The number of a deleted last row must not be given again.
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # There is one.
    _required("place", _big),
    _required("chain", _digest),
    _required("signature", LargeBinary),
)

claims = Table(
    "claims",
    metadata,
    Column("caller", _caller, primary_key=True),
    Column("tool", _name, primary_key=True),
    Column("key", String(256), primary_key=True),
    _required("arguments_digest", _digest),
    _required("request_id", String(128)),
    Column("answer", LargeBinary),
    Column("answer_artefact", _digest),
    _required("created_at", UtcDateTime),
    _required("expires_at", UtcDateTime),
    Index(None, "expires_at"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", _id, primary_key=True),
    _required("at", UtcDateTime),
    _required("model", _name),
    _required("version", Integer),
    _required("digest", _digest),
    _required("caller", _caller),
    _required("request_id", String(128)),
    _required("value", _exact_json()),
    Column("probability", Float),
    _required("answer", _exact_json()),
    _required("flags", _exact_json()),
    _required("features", LargeBinary),
    Index(None, "model", "version", "id"),
    Index(None, "at"),
)
