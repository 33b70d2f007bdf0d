"""Merged patients' numbers and signed orders, remembered for images that come later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "remembered_messages"
down_revision = "kept_patients"
branch_labels = None
depends_on = None

# What is known of merges so far: studies whose images had one number and which have another since.
_KNOWN = """
INSERT INTO merged_patients (prior_patient_id, prior_issuer, patient_id, issuer, merged_at_utc)
SELECT prior.patient_id, prior.issuer, MIN(rekeyed.patient_id), MIN(rekeyed.issuer), MIN(rekeyed.rekeyed_at_utc)
FROM rekeyed_studies AS rekeyed
JOIN (
    SELECT study_id, MIN(patient_id) AS patient_id, MIN(issuer_of_patient_id) AS issuer
    FROM catalogue WHERE instance_id IS NOT NULL AND patient_id <> ''
    GROUP BY study_id
    HAVING COUNT(DISTINCT patient_id) = 1 AND COUNT(DISTINCT issuer_of_patient_id) = 1
) AS prior ON prior.study_id = rekeyed.study_id
WHERE prior.patient_id <> rekeyed.patient_id OR prior.issuer <> rekeyed.issuer
GROUP BY prior.patient_id, prior.issuer
HAVING COUNT(DISTINCT rekeyed.patient_id) = 1 AND COUNT(DISTINCT rekeyed.issuer) = 1
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "merged_patients",
        sa.Column("prior_patient_id", sa.String(length=255), nullable=False),
        sa.Column("prior_issuer", sa.String(length=255), nullable=False),
        sa.Column("patient_id", sa.String(length=255), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("merged_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("prior_patient_id", "prior_issuer", name=op.f("pk_merged_patients")),
    )
    op.create_index("ix_merged_patients_patient_id", "merged_patients", ["patient_id"])
    op.create_table(
        "signed_orders",
        sa.Column("order_digest", sa.String(length=64), nullable=False),
        sa.Column("name_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=1), nullable=False),
        sa.Column("received_at_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_digest", "name_digest", name=op.f("pk_signed_orders")),
    )
    op.create_index("ix_signed_orders_name_digest", "signed_orders", ["name_digest"])
    op.create_index("ix_signed_orders_received_at_utc", "signed_orders", ["received_at_utc"])
    op.execute(_KNOWN)


def downgrade() -> None:
    """Take back."""
    op.drop_table("signed_orders")
    op.drop_table("merged_patients")
