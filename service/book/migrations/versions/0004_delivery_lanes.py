"""Deliveries that must leave in order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.add_column(sa.Column("lane", sa.String(40), nullable=False, server_default=""))
        batch_op.create_index("ix_deliveries_lane", ["lane"])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.drop_index("ix_deliveries_lane")
        batch_op.drop_column("lane")
