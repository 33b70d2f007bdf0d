"""Storage commitment both ways: requests of others, and whether archives keep what they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "storage_commitment"
down_revision = "conversations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "commitment_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=64), nullable=False),
        sa.Column("calling_host", sa.String(length=255), nullable=False),
        sa.Column("references_json", sa.Text(), nullable=False),
        sa.Column("received_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reported_at_utc", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment_requests")),
    )
    op.create_index("ix_commitment_requests_due_at_utc", "commitment_requests", ["due_at_utc"])
    op.create_table(
        "custody",
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("due_at_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_custody_delivery_id")),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_custody")),
    )
    op.create_index("ix_custody_due_at_utc", "custody", ["due_at_utc"])
    op.create_index("ix_custody_transaction_uid", "custody", ["transaction_uid"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("custody")
    op.drop_table("commitment_requests")
