"""Where the routing rules send a study's results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "routing"
down_revision = "tallies_and_outbox"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("studies", sa.Column("destinations_json", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    op.drop_column("studies", "destinations_json")
