"""Tables of the account book.

A receipt is append-only and committed with its instance row before the sender hears "success"; everything else
can be rebuilt or repeated from these rows and the spool.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware datetimes, stored as UTC on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without zone; store the others as UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the account book stores timezone-aware times only")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give every time back as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base with stable constraint names, so that migrations can name them."""

    metadata = MetaData(naming_convention=_NAMING)


class BookFact(Base):
    """Single facts about this book, e.g. the identity of the spool it belongs to."""

    __tablename__ = "book_facts"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))


class StudyRow(Base):
    """One study and its walk.

    `fence` grows with every lease; a change that carries an older one fails. `critical` names what the
    critical-finding channel raised, in any version of the Draft. `priority` is 0 for routine work; a
    study of a higher one is read first. `expected_images` is what an archive says the study has. `signed_at_utc` is
    when a signed report of it was first heard of. `held_for` are the destinations an operator holds the study back from
    (see `service.book.study_holds`). `retracted_version` is the newest version of the Draft that was taken back
    with all before it; 0 where none was.
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
    destinations_json: Mapped[str] = mapped_column(Text, default="")
    held_for: Mapped[str] = mapped_column(Text, default="")
    expected_images: Mapped[int | None]
    expected_asked_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    signed_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    draft_version: Mapped[int] = mapped_column(default=0)
    retracted_version: Mapped[int] = mapped_column(default=0)
    outcome: Mapped[str] = mapped_column(String(16), default="")
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")


class InstanceRow(Base):
    """One received object: identified by its SOP Instance UID and the digest of its data set."""

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "dataset_sha256"),
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
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    file_sha256: Mapped[str] = mapped_column(String(64))
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


class DraftRow(Base):
    """One version of one study's result, whole.

    `told_to_json` names the destinations it was made for; empty means wherever the study's results go.
    """

    __tablename__ = "drafts"
    __table_args__ = (UniqueConstraint("study_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    version: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(16))
    draft_json: Mapped[str] = mapped_column(Text)
    created_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    answers: Mapped[int] = mapped_column(default=0)
    malformed_answers: Mapped[int] = mapped_column(default=0)
    told_to_json: Mapped[str] = mapped_column(Text, default="")
    purged_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ShadowRow(Base):
    """What a shadow model read of one Draft's images: stored for comparison, never told to anybody.

    `model` names it with its weights; `readings_json` is a JSON list of Readings, or empty with the `code` of why not.
    """

    __tablename__ = "shadow_readings"
    __table_args__ = (UniqueConstraint("draft_id", "model"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    draft_id: Mapped[int] = mapped_column(ForeignKey("drafts.id"))
    model: Mapped[str] = mapped_column(String(255))
    readings_json: Mapped[str] = mapped_column(Text, default="[]")
    code: Mapped[str] = mapped_column(String(64), default="")
    created_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


class ArtefactRow(Base):
    """One built face. Its bytes lie in the results spool and are what every attempt sends."""

    __tablename__ = "artefacts"
    __table_args__ = (UniqueConstraint("draft_id", "kind", "image_sop_instance_uid", "destination"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    draft_id: Mapped[int] = mapped_column(ForeignKey("drafts.id"))
    kind: Mapped[str] = mapped_column(String(16))
    image_sop_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    destination: Mapped[str] = mapped_column(String(64), default="")
    file_name: Mapped[str] = mapped_column(String(255))
    sop_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    spool_key: Mapped[str] = mapped_column(String(255), unique=True)
    file_sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    purged_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeliveryRow(Base):
    """The outbox: one artefact on its way to one destination.

    Rows of one `lane` leave one after the other, in the order of their ids; an empty lane has no order.
    `chosen_patient` is the EHR's own reference of a patient that a person has chosen; empty where nobody had to.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("draft_id", "destination", "kind", "image_sop_instance_uid"),
        Index("ix_deliveries_state_due", "state", "due_at_utc"),
        Index("ix_deliveries_study_id", "study_id"),
        Index("ix_deliveries_lane", "lane"),
        Index("ix_deliveries_state_created", "state", "created_at_utc"),
        Index("ix_deliveries_destination_state", "destination", "state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    draft_id: Mapped[int] = mapped_column(ForeignKey("drafts.id"))
    artefact_id: Mapped[int | None] = mapped_column(ForeignKey("artefacts.id"))
    destination: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    image_sop_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    lane: Mapped[str] = mapped_column(String(40), default="")
    chosen_patient: Mapped[str] = mapped_column(String(80), default="")
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    enqueued_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str] = mapped_column(String(128), default="")
    lease_until_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fence: Mapped[int] = mapped_column(default=0)
    last_status: Mapped[str] = mapped_column(String(16), default="")
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")
    delivered_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CatalogueRow(Base):
    """What DICOMweb searches find of one object the book holds, copied from its header.

    Exactly one of `instance_id` (received) and `artefact_id` (our own result) is set. `patient_name` is folded to lower
    case. Rows are made after receipt and can be made anew from the files at any time; they go when their file goes.
    """

    __tablename__ = "catalogue"
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


class DeliveryAttemptRow(Base):
    """The delivery log: how one attempt ended, with the DIMSE or HTTP status the destination gave."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (Index("ix_delivery_attempts_delivery_id", "delivery_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"))
    number: Mapped[int]
    started_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="")
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")


class CircuitRow(Base):
    """A destination's circuit breaker, and whether an operator holds it."""

    __tablename__ = "circuits"
    destination: Mapped[str] = mapped_column(String(64), primary_key=True)
    held: Mapped[bool] = mapped_column(default=False)
    failures: Mapped[int] = mapped_column(default=0)
    failing_since_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    retry_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason_code: Mapped[str] = mapped_column(String(64), default="")


class TallyRow(Base):
    """Running counts, written by the database's own triggers at every change of a counted row.

    Each change adds a row, so that writers never wait for one another's counts; the sum is the count.
    """

    __tablename__ = "tallies"
    id: Mapped[int] = mapped_column(primary_key=True)
    counted: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    number: Mapped[int] = mapped_column(BigInteger)


class RoleRow(Base):
    """A running role's sign of life, for readiness, with figures of its process as JSON, for metrics."""

    __tablename__ = "roles"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    ready: Mapped[bool] = mapped_column(default=False)
    detail: Mapped[str] = mapped_column(String(255), default="")
    seen_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    figures_json: Mapped[str] = mapped_column(Text, default="{}")


class AuditRow(Base):
    """Who did what (see `service.book.audit`). Never changed, never deleted: triggers refuse both.

    `number` counts without gaps, and `sha256` covers the row and the one before.
    """

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_subject", "subject", "subject_id"),)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(16), default="")
    subject_id: Mapped[int | None]
    outcome: Mapped[str] = mapped_column(String(64), default="ok")
    detail: Mapped[str] = mapped_column(String(255), default="")
    sha256: Mapped[str] = mapped_column(String(64))


class RefusedCallsRow(Base):
    """Calls the listener has refused for one reason."""

    __tablename__ = "refused_calls"
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)


class ConversationRow(Base):
    """Questions about one image of a study, and which model answers them; named to its caller by `public_id`."""

    __tablename__ = "conversations"
    __table_args__ = (UniqueConstraint("public_id"), Index("ix_conversations_study_id", "study_id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32))
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    draft_id: Mapped[int] = mapped_column(ForeignKey("drafts.id"))
    opened_by: Mapped[str] = mapped_column(String(128))
    opened_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    model_name: Mapped[str] = mapped_column(String(255), default="")
    model_version: Mapped[str] = mapped_column(String(64), default="")
    weights_sha256: Mapped[str] = mapped_column(String(64), default="")
    purged_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ChatTurnRow(Base):
    """One question of a conversation; `answer` is the model's text, `checked_json` what of it is shown."""

    __tablename__ = "chat_turns"
    __table_args__ = (UniqueConstraint("conversation_id", "number"), Index("ix_chat_turns_state", "state"))
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text, default="")
    checked_json: Mapped[str] = mapped_column(Text, default="")
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(255), default="")
    asked_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    due_by_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CommitmentRow(Base):
    """Somebody's storage commitment request; answered where `reported_at_utc` is set."""

    __tablename__ = "commitment_requests"
    __table_args__ = (Index("ix_commitment_requests_due_at_utc", "due_at_utc"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(String(64))
    calling_ae_title: Mapped[str] = mapped_column(String(64))
    calling_host: Mapped[str] = mapped_column(String(255))
    references_json: Mapped[str] = mapped_column(Text)
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    reported_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CustodyRow(Base):
    """Whether the archive keeps one delivered object (see `service.book.custody`)."""

    __tablename__ = "custody"
    __table_args__ = (
        Index("ix_custody_due_at_utc", "due_at_utc"),
        Index("ix_custody_transaction_uid", "transaction_uid"),
        Index("ix_custody_state", "state", "delivery_id"),
    )
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    transaction_uid: Mapped[str] = mapped_column(String(64), default="")
    due_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)


class FinalReportRow(Base):
    """What is kept of a study's signed report: its status, and verdicts by label as JSON; never its words."""

    __tablename__ = "final_reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), unique=True)
    status: Mapped[str] = mapped_column(String(1))
    signed_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    draft_version: Mapped[int] = mapped_column(default=0)
    verdicts_json: Mapped[str] = mapped_column(Text, default="{}")


class AgreementRow(Base):
    """In how many studies Draft and signed report stand so to each other on one label."""

    __tablename__ = "agreement"
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)


class Hl7MessageRow(Base):
    """A part of a message that changed something, by the digest of its sender, control ID, content and place."""

    __tablename__ = "hl7_messages"
    __table_args__ = (Index("ix_hl7_messages_received_at_utc", "received_at_utc"),)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


class Hl7CountRow(Base):
    """How many messages came to one end."""

    __tablename__ = "hl7_counts"
    outcome: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)


class RekeyedRow(Base):
    """The patient's number that stands in place of the one in a study's images, since two patients became one."""

    __tablename__ = "rekeyed_studies"
    __table_args__ = (Index("ix_rekeyed_studies_patient_id", "patient_id"),)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(255))
    issuer: Mapped[str] = mapped_column(String(255), default="")
    rekeyed_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


class KeptPatientRow(Base):
    """A patient's number from images that are purged; it goes with the study's Drafts and results."""

    __tablename__ = "kept_patients"
    __table_args__ = (Index("ix_kept_patients_patient_id", "patient_id"),)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
