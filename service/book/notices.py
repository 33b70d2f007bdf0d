"""Notices of a study's images: on record before they are acknowledged, and what they claim of a study."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine, delete, exists, insert, select
from sqlalchemy.orm import Session

from clinical import Permanent
from dicom_node.notices import ImagesAvailable, StepBegun, StepChanged, StepStatus
from service.book.database import one_at_a_time, writing
from service.book.tables import InstanceRow, NamedImageRow, NoticeRow

# A step that says nothing for so long is over, and nobody waits for its study any more.
REMEMBERED = timedelta(days=7)
_AVAILABLE = "AVAILABLE"
# What an archive has and what a modality has made once it is done: nothing more is to come.
_SETTLED = (StepStatus.COMPLETED, _AVAILABLE)


class Claim(StrEnum):
    """What notices say of a study as it stands.

    ``nothing`` where they name no image; ``more-to-come`` while a step goes on or a named image is missing.
    """

    NOTHING = "nothing"
    MORE_TO_COME = "more-to-come"
    WHOLE = "whole"


def note_step_begun(
    engine: Engine, sop_instance_uid: str, notice: StepBegun, ae_title: str, *, now: datetime
) -> None:
    """Put a new step on record.

    Raises
    ------
    Permanent
        ``notice-known`` where there is one of this UID.
    """
    _note(
        engine,
        sop_instance_uid,
        notice.study_instance_uids,
        notice.image_uids,
        StepStatus.IN_PROGRESS,
        ae_title,
        now,
    )


def note_available(
    engine: Engine, sop_instance_uid: str, notice: ImagesAvailable, ae_title: str, *, now: datetime
) -> None:
    """Put on record what an archive has. Raises as `note_step_begun` does."""
    studies = (notice.study_instance_uid,)
    _note(engine, sop_instance_uid, studies, notice.image_uids, _AVAILABLE, ae_title, now)


def _note(
    engine: Engine,
    sop_instance_uid: str,
    studies: Collection[str],
    images: Collection[str],
    status: str,
    ae_title: str,
    now: datetime,
) -> None:
    with writing(engine) as session:
        one_at_a_time(session, sop_instance_uid)
        known = select(NoticeRow.id).where(NoticeRow.sop_instance_uid == sop_instance_uid)
        if session.scalar(known.limit(1)) is not None:
            raise Permanent("notice-known", "a notice of this UID is on record")
        for study in studies:
            row = NoticeRow(
                sop_instance_uid=sop_instance_uid,
                study_instance_uid=study,
                status=status,
                calling_ae_title=ae_title[:64],
                changed_at_utc=now,
            )
            session.add(row)
            session.flush()
            _name(session, row.id, images)


def note_step_changed(engine: Engine, sop_instance_uid: str, notice: StepChanged, *, now: datetime) -> None:
    """Put on record what a step has become.

    Raises
    ------
    Permanent
        ``notice-unknown`` where no step of this UID has begun, ``step-ended`` where it is in progress no more.
    """
    with writing(engine) as session:
        steps = session.scalars(
            select(NoticeRow)
            .where(NoticeRow.sop_instance_uid == sop_instance_uid, NoticeRow.status != _AVAILABLE)
            .order_by(NoticeRow.id)
            .with_for_update()
        ).all()
        if not steps:
            raise Permanent("notice-unknown", "no step of this UID is on record")
        for step in steps:
            if step.status != StepStatus.IN_PROGRESS:
                raise Permanent("step-ended", "the step is in progress no more")
            step.status, step.changed_at_utc = notice.status or StepStatus.IN_PROGRESS, now
            if notice.image_uids is not None:
                session.execute(delete(NamedImageRow).where(NamedImageRow.notice_id == step.id))
                _name(session, step.id, notice.image_uids)


def _name(session: Session, notice_id: int, images: Collection[str]) -> None:
    if images:
        rows = [{"notice_id": notice_id, "sop_instance_uid": uid} for uid in images]
        session.execute(insert(NamedImageRow), rows)


def claim_of(session: Session, study_instance_uid: str) -> Claim:
    """What the notices of a study say of it; a step that was discontinued says nothing."""
    of_study = NoticeRow.study_instance_uid == study_instance_uid
    going_on = select(NoticeRow.id).where(of_study, NoticeRow.status == StepStatus.IN_PROGRESS)
    if session.scalar(going_on.limit(1)) is not None:
        return Claim.MORE_TO_COME
    named = (
        select(NamedImageRow.sop_instance_uid)
        .join(NoticeRow, NoticeRow.id == NamedImageRow.notice_id)
        .where(of_study, NoticeRow.status.in_(_SETTLED))
    )
    if session.scalar(named.limit(1)) is None:
        return Claim.NOTHING
    held = exists().where(InstanceRow.sop_instance_uid == NamedImageRow.sop_instance_uid)
    return Claim.MORE_TO_COME if session.scalar(named.where(~held).limit(1)) is not None else Claim.WHOLE


def forget_notices(engine: Engine, now: datetime) -> None:
    """Delete what nobody has spoken of for longer than notices are remembered."""
    old = select(NoticeRow.id).where(NoticeRow.changed_at_utc < now - REMEMBERED)
    with writing(engine) as session:
        session.execute(delete(NamedImageRow).where(NamedImageRow.notice_id.in_(old)))
        session.execute(delete(NoticeRow).where(NoticeRow.changed_at_utc < now - REMEMBERED))
