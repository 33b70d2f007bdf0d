"""One digest per object, which names its algorithm; those that are there already, SHA-256, name none."""

from __future__ import annotations

from alembic import op

revision = "named_digests"
down_revision = "notices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # Not in batch mode: making the table anew would take its triggers, which keep the tallies, with it.
    op.execute("ALTER TABLE instances RENAME COLUMN dataset_sha256 TO digest")
    # It has said the same for every object since `one_digest_per_object`.
    op.execute("ALTER TABLE instances DROP COLUMN file_sha256")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE instances RENAME COLUMN digest TO dataset_sha256")
    op.execute("ALTER TABLE instances ADD COLUMN file_sha256 VARCHAR(64) NOT NULL DEFAULT ''")
    op.execute("UPDATE instances SET file_sha256 = dataset_sha256")
