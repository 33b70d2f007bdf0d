"""The catalogue: what DICOMweb searches find, copied from the headers of what the book holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "catalogue"
down_revision = "one_digest_per_object"
branch_labels = None
depends_on = None

_SEARCHED = (
    "study_id",
    "sop_instance_uid",
    "series_instance_uid",
    "patient_id",
    "accession_number",
    "study_date",
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "catalogue",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=True),
        sa.Column("artefact_id", sa.Integer(), nullable=True),
        sa.Column("sop_instance_uid", sa.String(128), nullable=False),
        sa.Column("sop_class_uid", sa.String(128), nullable=False),
        sa.Column("series_instance_uid", sa.String(128), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("patient_id", sa.String(255), nullable=False),
        sa.Column("issuer_of_patient_id", sa.String(255), nullable=False),
        sa.Column("patient_name", sa.String(255), nullable=False),
        sa.Column("accession_number", sa.String(64), nullable=False),
        sa.Column("study_date", sa.String(16), nullable=False),
        sa.Column("attributes_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_catalogue_study_id"),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_catalogue_instance_id"),
        sa.ForeignKeyConstraint(["artefact_id"], ["artefacts.id"], name="fk_catalogue_artefact_id"),
        sa.PrimaryKeyConstraint("id", name="pk_catalogue"),
        sa.UniqueConstraint("instance_id", name="uq_catalogue_instance_id"),
        sa.UniqueConstraint("artefact_id", name="uq_catalogue_artefact_id"),
    )
    for column in _SEARCHED:
        op.create_index(f"ix_catalogue_{column}", "catalogue", [column])


def downgrade() -> None:
    """Take back."""
    op.drop_table("catalogue")
