"""Tables of what was received: studies, their objects, a receipt each, and what searches find of them.

A receipt is append-only and committed with its instance row before the sender hears "success"; everything else
can be rebuilt or repeated from these rows and the spool.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


class StudyRow(Base):
    """One study and its walk.

    `fence` grows with every lease; a change that carries an older one fails. `critical` names what the
    critical-finding channel raised, in any version of the Draft. `priority` is 0 for routine work; a
    study of a higher one is read first. `expected_images` is what an archive says the study has. `signed_at_utc` is
    when a signed report of it was first heard of. `held_for` are the destinations an operator holds the study back from
    (see `service.book.study_holds`). `retracted_version` is the newest version of the Draft that was taken back
    with all before it; 0 where none was. `completed_by` says what ends the wait for more images at `due_at_utc`, or
    ended it; `arrivals_weighed` how many images had come when notices were last asked about it, -1 where they must be
    asked again.
    """

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_state_due", "state", "due_at_utc"),
        Index("ix_studies_updated", "updated_at_utc", "id"),
        Index("ix_studies_state_updated", "state", "updated_at_utc", "id"),
        Index(
            "ix_studies_held",
            "id",
            postgresql_where=text("held_for <> ''"),
            sqlite_where=text("held_for <> ''"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(String(128), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    first_received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    last_received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    enqueued_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str] = mapped_column(String(128), default="")
    lease_until_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fence: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    critical: Mapped[str] = mapped_column(String(255), default="")
    arrivals: Mapped[int] = mapped_column(default=0)
    arrivals_taken: Mapped[int] = mapped_column(default=0)
    arrivals_looked_at: Mapped[int] = mapped_column(default=0)
    arrivals_weighed: Mapped[int] = mapped_column(default=0)
    destinations_json: Mapped[str] = mapped_column(Text, default="")
    held_for: Mapped[str] = mapped_column(Text, default="")
    expected_images: Mapped[int | None]
    expected_asked_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_by: Mapped[str] = mapped_column(String(16), default="")
    signed_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    draft_version: Mapped[int] = mapped_column(default=0)
    retracted_version: Mapped[int] = mapped_column(default=0)
    outcome: Mapped[str] = mapped_column(String(16), default="")
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")


class InstanceRow(Base):
    """One received object: identified by its SOP Instance UID and the digest of its file (see `dicom_node.digests`)."""

    __tablename__ = "instances"
    __table_args__ = (
        # The name it was made with: SQLite renames a column, but no constraint.
        UniqueConstraint("sop_instance_uid", "digest", name="uq_instances_sop_instance_uid_dataset_sha256"),
        Index("ix_instances_study_id", "study_id"),
        Index("ix_instances_state", "state"),
        Index(
            "ix_instances_unpurged",
            "purged_at_utc",
            "spool_key",
            postgresql_where=text("purged_at_utc IS NULL"),
            sqlite_where=text("purged_at_utc IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    sop_instance_uid: Mapped[str] = mapped_column(String(128))
    sop_class_uid: Mapped[str] = mapped_column(String(128))
    series_instance_uid: Mapped[str] = mapped_column(String(128))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(128))
    modality: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    spool_key: Mapped[str] = mapped_column(String(255), unique=True)
    receipt_count: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16))
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    state_since_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    purged_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ReceiptRow(Base):
    """One success response (`kind` "received"), or a file taken over that nobody was answered for ("adopted").

    Never changed, never deleted.
    """

    __tablename__ = "receipts"
    __table_args__ = (Index("ix_receipts_instance_id", "instance_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    calling_ae_title: Mapped[str] = mapped_column(String(64))
    called_ae_title: Mapped[str] = mapped_column(String(64))
    calling_host: Mapped[str] = mapped_column(String(255))
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(16), default="received")


class CatalogueRow(Base):
    """What DICOMweb searches find of one object the book holds, copied from its header.

    Exactly one of `instance_id` (received) and `artefact_id` (our own result) is set. `patient_name` is folded to lower
    case. Rows are made after receipt and can be made anew from the files at any time; they go when their file goes.
    """

    __tablename__ = "catalogue"
    __table_args__ = (
        Index(
            "ix_catalogue_patient_name",
            "patient_name",
            postgresql_ops={"patient_name": "text_pattern_ops"},
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    instance_id: Mapped[int | None] = mapped_column(ForeignKey("instances.id"), unique=True)
    artefact_id: Mapped[int | None] = mapped_column(ForeignKey("artefacts.id"), unique=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(128), index=True)
    sop_class_uid: Mapped[str] = mapped_column(String(128))
    series_instance_uid: Mapped[str] = mapped_column(String(128), index=True)
    modality: Mapped[str] = mapped_column(String(16))
    patient_id: Mapped[str] = mapped_column(String(255), index=True)
    issuer_of_patient_id: Mapped[str] = mapped_column(String(255))
    patient_name: Mapped[str] = mapped_column(String(255))
    accession_number: Mapped[str] = mapped_column(String(64), index=True)
    study_date: Mapped[str] = mapped_column(String(16), index=True)
    attributes_json: Mapped[str] = mapped_column(Text)
