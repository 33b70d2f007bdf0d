"""Studies that an operator holds back from destinations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "study_holds"
down_revision = "rekeyed_studies"
branch_labels = None
depends_on = None


# Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.


def upgrade() -> None:
    """Apply."""
    op.add_column("studies", sa.Column("held_for", sa.Text(), nullable=False, server_default=""))
    # Few studies are held: their search does not read the others.
    held = sa.text("held_for <> ''")
    op.create_index("ix_studies_held", "studies", ["id"], postgresql_where=held, sqlite_where=held)


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_studies_held", "studies")
    op.drop_column("studies", "held_for")
