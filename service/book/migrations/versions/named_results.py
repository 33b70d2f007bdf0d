"""Series and SOP class of each DICOM result, so that it can be named when its bytes are gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "named_results"
down_revision = "indications"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; of results that are there already, retention writes both down when it takes their files."""
    op.add_column(
        "artefacts",
        sa.Column("series_instance_uid", sa.String(length=128), nullable=False, server_default=""),
    )
    op.add_column(
        "artefacts", sa.Column("sop_class_uid", sa.String(length=64), nullable=False, server_default="")
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("artefacts", "sop_class_uid")
    op.drop_column("artefacts", "series_instance_uid")
