"""Which subscriptions were made at EHRs' servers, and where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "placed_subscriptions"
down_revision = "patients_of_results"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "placed_subscriptions",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("base_url", sa.String(length=1024), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("content_digest", sa.String(length=32), nullable=False),
        sa.Column("endpoint_digest", sa.String(length=32), nullable=False),
        sa.Column("end_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("destination", "base_url", name=op.f("pk_placed_subscriptions")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("placed_subscriptions")
