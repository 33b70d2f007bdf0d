"""What the critical-finding channel raised of a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "critical_findings"
down_revision = "storage_commitment"
branch_labels = None
depends_on = None


# Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.


def upgrade() -> None:
    """Apply."""
    op.add_column("studies", sa.Column("critical", sa.String(length=255), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    op.drop_column("studies", "critical")
