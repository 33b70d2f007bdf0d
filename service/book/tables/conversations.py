"""Tables of questions about an image and their answers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


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
