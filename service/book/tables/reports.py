"""Tables of what is kept of signed reports and of the hospital's messages; never their words."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


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
