"""An object is told from others by the digest of its spool file, whose first bytes follow from its UIDs."""

from __future__ import annotations

from alembic import op

revision = "one_digest_per_object"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("UPDATE instances SET dataset_sha256 = file_sha256 WHERE file_sha256 <> ''")


def downgrade() -> None:
    """Nothing to take back: the older digests are not kept, and a re-send is then classed as a duplicate."""
