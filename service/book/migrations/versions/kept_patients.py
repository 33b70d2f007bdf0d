"""Patients' numbers of studies whose images are purged and whose results are not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "kept_patients"
down_revision = "retracted_versions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "kept_patients",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.String(length=255), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_kept_patients_study_id")),
        sa.PrimaryKeyConstraint("study_id", "patient_id", "issuer", name=op.f("pk_kept_patients")),
    )
    op.create_index("ix_kept_patients_patient_id", "kept_patients", ["patient_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("kept_patients")
