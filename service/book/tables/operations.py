"""Tables of the running service itself: facts of the book, counts, roles, and who did what."""

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


class BookFact(Base):
    """Single facts about this book, e.g. the identity of the spool it belongs to."""

    __tablename__ = "book_facts"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))


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


class PlacedSubscriptionRow(Base):
    """A Subscription at a destination's server (`service.book.subscriptions`)."""

    __tablename__ = "placed_subscriptions"
    destination: Mapped[str] = mapped_column(String(64), primary_key=True)
    base_url: Mapped[str] = mapped_column(String(1024), primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), default="")
    content_digest: Mapped[str] = mapped_column(String(32), default="")
    endpoint_digest: Mapped[str] = mapped_column(String(32), default="")
    end_utc: Mapped[datetime] = mapped_column(UtcDateTime)
