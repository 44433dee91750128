"""Which rows were suggested to be labelled, and what their labels gained."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "suggestions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("folded", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=80), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("pool", sa.String(length=80), nullable=False),
        sa.Column("pool_digest", sa.String(length=80), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expected", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("gain", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suggestions")),
        sa.UniqueConstraint(
            "folded",
            "digest",
            "pool",
            "pool_digest",
            "count",
            "seed",
            name=op.f("uq_suggestions_folded_digest_pool_pool_digest_count_seed"),
        ),
    )
    op.create_index(op.f("ix_suggestions_folded_id"), "suggestions", ["folded", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("suggestions")
