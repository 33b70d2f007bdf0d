"""Signed reports of others, what they and the drafts agree on, and the messages they came in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "final_reports"
down_revision = "trials_and_observations"
branch_labels = None
depends_on = None


# Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.


def upgrade() -> None:
    """Apply."""
    op.add_column("studies", sa.Column("signed_at_utc", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "final_reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=1), nullable=False),
        sa.Column("signed_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("draft_version", sa.Integer(), nullable=False),
        sa.Column("verdicts_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_final_reports_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_final_reports")),
        sa.UniqueConstraint("study_id", name=op.f("uq_final_reports_study_id")),
    )
    op.create_table(
        "agreement",
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("label", "verdict", name=op.f("pk_agreement")),
    )
    op.create_table(
        "hl7_messages",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("received_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_hl7_messages")),
    )
    op.create_index("ix_hl7_messages_received_at_utc", "hl7_messages", ["received_at_utc"])
    op.create_table(
        "hl7_counts",
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("outcome", name=op.f("pk_hl7_counts")),
    )


def downgrade() -> None:
    """Take back."""
    for table in ("hl7_counts", "hl7_messages", "agreement", "final_reports"):
        op.drop_table(table)
    op.drop_column("studies", "signed_at_utc")
