"""How many calls the listener has refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "refused_calls"
down_revision = "catalogue"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "refused_calls",
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reason", name=op.f("pk_refused_calls")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("refused_calls")
