"""Studies whose patient got another number, and Drafts made for some destinations alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "rekeyed_studies"
down_revision = "final_reports"
branch_labels = None
depends_on = None


# Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.


def upgrade() -> None:
    """Apply."""
    op.add_column("drafts", sa.Column("told_to_json", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "rekeyed_studies",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.String(length=255), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("rekeyed_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_rekeyed_studies_study_id")),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_rekeyed_studies")),
    )
    op.create_index("ix_rekeyed_studies_patient_id", "rekeyed_studies", ["patient_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("rekeyed_studies")
    op.drop_column("drafts", "told_to_json")
