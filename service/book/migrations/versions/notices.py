"""What others tell of a study's images, and what ended a study's waiting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "notices"
down_revision = "named_results"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=64), nullable=False),
        sa.Column("changed_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint(
            "sop_instance_uid",
            "study_instance_uid",
            name=op.f("uq_notices_sop_instance_uid_study_instance_uid"),
        ),
    )
    op.create_index("ix_notices_study_instance_uid", "notices", ["study_instance_uid"])
    op.create_index("ix_notices_changed_at_utc", "notices", ["changed_at_utc"])
    op.create_table(
        "named_images",
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.id"], name=op.f("fk_named_images_notice_id_notices")
        ),
        sa.PrimaryKeyConstraint("notice_id", "sop_instance_uid", name=op.f("pk_named_images")),
    )
    op.add_column("studies", sa.Column("completed_by", sa.String(16), nullable=False, server_default=""))
    op.add_column("studies", sa.Column("arrivals_weighed", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Take back."""
    op.drop_column("studies", "arrivals_weighed")
    op.drop_column("studies", "completed_by")
    op.drop_table("named_images")
    op.drop_table("notices")
