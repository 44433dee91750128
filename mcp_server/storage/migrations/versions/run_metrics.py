"""What runs are searched and sorted by, out of their JSON, and what is noted of them beside."""

from __future__ import annotations

import math

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_PART = 500
_SEARCHED = ["id", "model", "dataset", "target", "algorithm", "status", "started_at"]


def upgrade() -> None:
    op.add_column("runs", sa.Column("algorithm", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("target", sa.String(length=256), nullable=True))
    op.add_column("runs", sa.Column("facts", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "run_metrics",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_metrics")),
    )
    _fill_in()
    op.create_index(op.f("ix_runs_" + "_".join(_SEARCHED)), "runs", _SEARCHED, unique=False)
    op.create_index(op.f("ix_run_metrics_name_value_run_id"), "run_metrics", ["name", "value", "run_id"], unique=False)


def downgrade() -> None:
    op.drop_table("run_metrics")
    op.drop_index(op.f("ix_runs_" + "_".join(_SEARCHED)), table_name="runs")
    with op.batch_alter_table("runs") as table:
        for name in ("facts", "target", "algorithm"):
            table.drop_column(name)


def _fill_in() -> None:
    """Algorithm, target and metrics of the runs that are there."""
    connection = op.get_bind()
    runs = sa.table(
        "runs",
        sa.column("id", sa.String),
        sa.column("parameters", sa.JSON),
        sa.column("metrics", sa.JSON),
        sa.column("algorithm", sa.String),
        sa.column("target", sa.String),
    )
    measured = sa.table("run_metrics", sa.column("run_id"), sa.column("name"), sa.column("value"))
    last = ""
    while True:
        part = connection.execute(
            sa.select(runs.c.id, runs.c.parameters, runs.c.metrics)
            .where(runs.c.id > last)
            .order_by(runs.c.id)
            .limit(_PART)
        ).all()
        if not part:
            return
        last = part[-1].id
        for id, parameters, metrics in part:
            connection.execute(
                sa.update(runs)
                .where(runs.c.id == id)
                .values(algorithm=_text(parameters, "algorithm", 64), target=_text(parameters, "target", 256))
            )
            test = metrics.get("test") if isinstance(metrics, dict) else None
            found = [(name, one.get("value")) for name, one in (test or {}).items() if isinstance(one, dict)]
            rows = [
                {"run_id": id, "name": name[:64], "value": float(value)}
                for name, value in found
                if isinstance(value, int | float) and math.isfinite(value)
            ]
            if rows:
                connection.execute(sa.insert(measured), rows)


def _text(values: object, name: str, most: int) -> str | None:
    found = values.get(name) if isinstance(values, dict) else None
    return found[:most] if isinstance(found, str) else None
