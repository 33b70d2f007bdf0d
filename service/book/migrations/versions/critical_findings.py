"""What the critical-finding channel raised of a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "critical_findings"
down_revision = "storage_commitment"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(sa.Column("critical", sa.String(length=255), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("critical")
