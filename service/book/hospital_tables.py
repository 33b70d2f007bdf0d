"""Tables of what the hospital has said of patients and orders, for images that come later."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables import Base, UtcDateTime


class MergedPatientRow(Base):
    """A patient's number that is no longer used, with its issuer, and the number that stands in its place."""

    __tablename__ = "merged_patients"
    __table_args__ = (Index("ix_merged_patients_patient_id", "patient_id"),)
    prior_patient_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    prior_issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(255))
    issuer: Mapped[str] = mapped_column(String(255))
    merged_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


class SignedOrderRow(Base):
    """One name of an order whose report is signed, as a digest of study or accession number and patient.

    An order has a row for each way an image could name it; `order_digest` holds them together.
    """

    __tablename__ = "signed_orders"
    __table_args__ = (
        Index("ix_signed_orders_name_digest", "name_digest"),
        Index("ix_signed_orders_received_at_utc", "received_at_utc"),
    )
    order_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(1))
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
