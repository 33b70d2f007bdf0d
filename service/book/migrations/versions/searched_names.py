"""Searches by a part of a patient's name read an index of names, not the catalogue's rows with their headers."""

from __future__ import annotations

from alembic import op

revision = "searched_names"
down_revision = "remembered_messages"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_catalogue_patient_name",
        "catalogue",
        ["patient_name"],
        # In whatever collation the database has, a beginning of a name finds its place.
        postgresql_ops={"patient_name": "text_pattern_ops"},
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_catalogue_patient_name", "catalogue")
