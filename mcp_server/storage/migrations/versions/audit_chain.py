"""Audit rows become a chain: each holds the digest of itself and of all before it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mcp_server.storage.audit_chain import START, link
from mcp_server.storage.tables import audit

revision = "0004"
down_revision = "0003"

_PART = 1_000


def upgrade() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain", sa.String(length=80), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    with op.batch_alter_table("audit") as table:
        table.add_column(sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True))
        table.add_column(sa.Column("chain", sa.String(length=80), nullable=True))
    _chain_what_is_there()
    with op.batch_alter_table("audit", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.alter_column("place", nullable=False)
        table.alter_column("chain", nullable=False)
        table.create_unique_constraint(op.f("uq_audit_place"), ["place"])


def downgrade() -> None:
    with op.batch_alter_table("audit", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint(op.f("uq_audit_place"), type_="unique")
        table.drop_column("chain")
        table.drop_column("place")
    op.drop_table("audit_head")


def _chain_what_is_there() -> None:
    """Their head is signed with the first row that comes after them."""
    connection = op.get_bind()
    last, place, chain = 0, 0, START
    while True:
        rows = connection.execute(
            sa.select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(_PART)
        ).mappings()
        part = [dict(row) for row in rows]
        if not part:
            return
        for row in part:
            place += 1
            chain = link(chain, {**row, "place": place})
            connection.execute(sa.update(audit).where(audit.c.id == row["id"]).values(place=place, chain=chain))
        last = part[-1]["id"]
