"""Tables of what became of a study: its Drafts, what a shadow model read, and the built faces."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


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
    """One built face. Its bytes lie in the results spool and are what every attempt sends.

    `series_instance_uid`, `sop_class_uid` and `patient_digest` are those of a DICOM object, so that it can be named,
    and its patient told from another, when its bytes are gone; empty where an earlier edition built it, until retention
    takes the file.
    """

    __tablename__ = "artefacts"
    __table_args__ = (UniqueConstraint("draft_id", "kind", "image_sop_instance_uid", "destination"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    draft_id: Mapped[int] = mapped_column(ForeignKey("drafts.id"))
    kind: Mapped[str] = mapped_column(String(16))
    image_sop_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    destination: Mapped[str] = mapped_column(String(64), default="")
    file_name: Mapped[str] = mapped_column(String(255))
    sop_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    series_instance_uid: Mapped[str] = mapped_column(String(128), default="")
    sop_class_uid: Mapped[str] = mapped_column(String(64), default="")
    patient_digest: Mapped[str] = mapped_column(String(64), default="")
    spool_key: Mapped[str] = mapped_column(String(255), unique=True)
    file_sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    purged_at_utc: Mapped[datetime | None] = mapped_column(UtcDateTime)
