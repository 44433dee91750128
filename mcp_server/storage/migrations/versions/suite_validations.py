"""Which validations a suite of Great Expectations judged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("validations", sa.Column("suite", sa.String(length=80), nullable=True))


def downgrade() -> None:
    op.drop_column("validations", "suite")
