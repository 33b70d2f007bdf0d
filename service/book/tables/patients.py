"""Tables of patients' numbers and of orders as the hospital has told them, for images held and images to come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


class MergedPatientRow(Base):
    """A patient's number that is no longer used, with its issuer, and the number that stands in its place."""

    __tablename__ = "merged_patients"
    __table_args__ = (Index("ix_merged_patients_patient_id", "patient_id"),)
    prior_patient_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    prior_issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(255))
    issuer: Mapped[str] = mapped_column(String(255))
    merged_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


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


class IndicationRow(Base):
    """Why an order's images were wanted, in the order's words, under one name of that order (`SignedOrderRow`)."""

    __tablename__ = "indications"
    __table_args__ = (
        Index("ix_indications_name_digest", "name_digest"),
        Index("ix_indications_received_at_utc", "received_at_utc"),
    )
    order_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    indication: Mapped[str] = mapped_column(Text)
    received_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
