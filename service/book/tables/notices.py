"""Tables of what others have told of a study's images, for studies held and studies to come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


class NoticeRow(Base):
    """A performed procedure step or a notice of availability, of one study; a step of several has a row for each.

    `sop_instance_uid` is the notice's own; `status` is that of the step, or ``AVAILABLE``. Of a step that makes no
    radiographs no study is kept (empty) and no image: the row is there to answer what is said of the step later.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "study_instance_uid"),
        Index("ix_notices_study_instance_uid", "study_instance_uid"),
        Index("ix_notices_changed_at_utc", "changed_at_utc"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    study_instance_uid: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(16))
    calling_ae_title: Mapped[str] = mapped_column(String(64))
    changed_at_utc: Mapped[datetime] = mapped_column(UtcDateTime)


class NamedImageRow(Base):
    """An image that a notice names."""

    __tablename__ = "named_images"
    notice_id: Mapped[int] = mapped_column(ForeignKey("notices.id"), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(128), primary_key=True)
