"""Tables of what callers of the listener asked besides storing, and of calls that were refused."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


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


class RefusedCallsRow(Base):
    """Calls the listener has refused for one reason."""

    __tablename__ = "refused_calls"
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)
