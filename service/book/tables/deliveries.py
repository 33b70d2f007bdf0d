"""Tables of results on their way: the outbox, its log, each destination's circuit, and what an archive keeps."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


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
