"""Up to which version a study's results were taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "retracted_versions"
down_revision = "study_holds"
branch_labels = None
depends_on = None


# Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.


def upgrade() -> None:
    """Apply."""
    op.add_column("studies", sa.Column("retracted_version", sa.Integer(), nullable=False, server_default="0"))
    # What takes the newest version back lies in the outbox; a rejection of an older one may come of its replacement.
    op.execute(
        "UPDATE studies SET retracted_version = draft_version WHERE reason_code = 'retracted' OR EXISTS ("
        "SELECT 1 FROM deliveries JOIN drafts ON drafts.id = deliveries.draft_id "
        "WHERE deliveries.study_id = studies.id AND drafts.version = studies.draft_version "
        "AND deliveries.kind IN ('ko', 'fhir-retraction', 'oru-retraction'))"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("studies", "retracted_version")
