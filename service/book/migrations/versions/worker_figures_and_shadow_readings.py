"""Figures of each role's process for metrics, and what a shadow model read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "worker_figures"
down_revision = "chosen_patients"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("roles") as batch_op:
        batch_op.add_column(sa.Column("figures_json", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "shadow_readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("draft_id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("readings_json", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("created_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["draft_id"], ["drafts.id"], name=op.f("fk_shadow_readings_draft_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_readings")),
        sa.UniqueConstraint("draft_id", "model", name=op.f("uq_shadow_readings_draft_id_model")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("shadow_readings")
    with op.batch_alter_table("roles") as batch_op:
        batch_op.drop_column("figures_json")
