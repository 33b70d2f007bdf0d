"""Whose each DICOM result is, so that a rejection of one whose bytes are gone never names another patient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "patients_of_results"
down_revision = "named_digests"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; of results that are there already, retention writes it down when it takes their files."""
    op.add_column(
        "artefacts", sa.Column("patient_digest", sa.String(length=64), nullable=False, server_default="")
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("artefacts", "patient_digest")
