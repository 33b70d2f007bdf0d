"""Why images were ordered, remembered for studies that are told later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "indications"
down_revision = "searched_names"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "indications",
        sa.Column("order_digest", sa.String(length=64), nullable=False),
        sa.Column("name_digest", sa.String(length=64), nullable=False),
        sa.Column("indication", sa.Text(), nullable=False),
        sa.Column("received_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_digest", "name_digest", name=op.f("pk_indications")),
    )
    op.create_index("ix_indications_name_digest", "indications", ["name_digest"])
    op.create_index("ix_indications_received_at_utc", "indications", ["received_at_utc"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("indications")
