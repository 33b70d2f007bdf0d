"""Patients that a person has chosen for a delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "chosen_patients"
down_revision = "refused_calls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.add_column(sa.Column("chosen_patient", sa.String(80), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.drop_column("chosen_patient")
