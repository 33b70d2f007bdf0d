"""How many answers of a Draft were ill-formed, and how urgent a study is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("drafts") as batch_op:
        batch_op.add_column(sa.Column("answers", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("malformed_answers", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("priority")
    with op.batch_alter_table("drafts") as batch_op:
        batch_op.drop_column("malformed_answers")
        batch_op.drop_column("answers")
