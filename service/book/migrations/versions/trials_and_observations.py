"""Daily trials of the model, and what readings of each device looked like."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.book.tables import UtcDateTime

revision = "trials_and_observations"
down_revision = "custody_counts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at_utc", UtcDateTime(timezone=True), nullable=False),
        sa.Column("model_name", sa.String(255), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("engine", sa.String(255), nullable=False),
        sa.Column("checks_json", sa.Text(), nullable=False),
    )
    op.create_index("ix_trials_model", "trials", ["weights_sha256", "engine"])
    op.create_table(
        "image_sources",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("manufacturer", sa.String(64), nullable=False),
        sa.Column("device_model", sa.String(64), nullable=False),
        sa.UniqueConstraint("manufacturer", "device_model"),
    )
    op.create_table(
        "observations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("source_id", sa.Integer(), sa.ForeignKey("image_sources.id"), nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("at_utc", UtcDateTime(timezone=True), nullable=False),
        sa.Column("values_json", sa.Text(), nullable=False),
    )
    op.create_index("ix_observations_source", "observations", ["source_id", "weights_sha256", "id"])
    op.create_table(
        "drift_alarms",
        sa.Column("source_id", sa.Integer(), sa.ForeignKey("image_sources.id"), primary_key=True),
        sa.Column("weights_sha256", sa.String(64), primary_key=True),
        sa.Column("quantity", sa.String(64), primary_key=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("evidence", sa.String(255), nullable=False),
        sa.Column("since_utc", UtcDateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    for table in ("drift_alarms", "observations", "image_sources", "trials"):
        op.drop_table(table)
