"""Notices of a study's images: on record before they are acknowledged, and what they claim of a study."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine, delete, exists, insert, or_, select, update
from sqlalchemy.orm import Session

from clinical import Permanent
from dicom_node.notices import IMAGES_MAX, ImagesAvailable, StepBegun, StepChanged, StepStatus
from service.book.database import one_at_a_time, writing
from service.book.states import TO_BE_WEIGHED, StudyState
from service.book.tables import InstanceRow, NamedImageRow, NoticeRow, StudyRow

# A step that says nothing for so long is over, and nobody waits for its study any more.
REMEMBERED = timedelta(days=7)
_AVAILABLE = "AVAILABLE"
# Of a step whose images are none to read.
_NO_STUDY = ("",)


class Claim(StrEnum):
    """What others say of a study as it stands.

    ``more-to-come`` while a step goes on or an image that was named is missing; ``whole`` where a completed step names
    images and all are here.
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
    studies = notice.study_instance_uids if notice.is_radiography else _NO_STUDY
    with writing(engine) as session:
        rows = _noted(session, sop_instance_uid, studies, StepStatus.IN_PROGRESS, ae_title, now)
        for row in rows:
            _name(session, row, notice.image_uids)
        _weigh_again(session, studies)


def note_available(
    engine: Engine, sop_instance_uid: str, notice: ImagesAvailable, ae_title: str, *, now: datetime
) -> None:
    """Put on record what an archive has; of each image its newest word stands. Raises as `note_step_begun` does."""
    studies = (notice.study_instance_uid,)
    earlier = select(NoticeRow.id).where(
        NoticeRow.study_instance_uid == notice.study_instance_uid,
        NoticeRow.status == _AVAILABLE,
        NoticeRow.calling_ae_title == ae_title[:64],
    )
    with writing(engine) as session:
        (row,) = _noted(session, sop_instance_uid, studies, _AVAILABLE, ae_title, now)
        session.execute(
            delete(NamedImageRow).where(
                NamedImageRow.notice_id.in_(earlier),
                NamedImageRow.sop_instance_uid.in_(notice.image_uids + notice.gone_uids),
            )
        )
        _name(session, row, notice.image_uids)
        _weigh_again(session, studies)


def _noted(
    session: Session,
    sop_instance_uid: str,
    studies: Collection[str],
    status: str,
    ae_title: str,
    now: datetime,
) -> list[NoticeRow]:
    one_at_a_time(session, sop_instance_uid)
    known = select(NoticeRow.id).where(NoticeRow.sop_instance_uid == sop_instance_uid)
    if session.scalar(known.limit(1)) is not None:
        raise Permanent("notice-known", "a notice of this UID is on record")
    rows = [
        NoticeRow(
            sop_instance_uid=sop_instance_uid,
            study_instance_uid=study,
            status=status,
            calling_ae_title=ae_title[:64],
            changed_at_utc=now,
        )
        for study in studies
    ]
    session.add_all(rows)
    session.flush()
    return rows


def note_step_changed(
    engine: Engine, sop_instance_uid: str, notice: StepChanged, ae_title: str, *, now: datetime
) -> None:
    """Put on record what a step has become.

    Raises
    ------
    Permanent
        ``notice-unknown`` where no step of this UID has begun, ``step-of-another`` where another AE title began it,
        ``step-ended`` where it is in progress no more, ``too-many-images`` where it is of radiography and names more
        than `dicom_node.notices.IMAGES_MAX`.
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
            if step.calling_ae_title != ae_title[:64]:
                raise Permanent("step-of-another", "the step is another AE title's")
            if step.status != StepStatus.IN_PROGRESS:
                raise Permanent("step-ended", "the step is in progress no more")
            step.status, step.changed_at_utc = notice.status or StepStatus.IN_PROGRESS, now
            # What a step of another modality names is not kept: captures of a reconstruction are many.
            if notice.image_uids is not None and step.study_instance_uid:
                if len(notice.image_uids) > IMAGES_MAX:
                    raise Permanent("too-many-images", "no step of radiography makes so many images")
                session.execute(delete(NamedImageRow).where(NamedImageRow.notice_id == step.id))
                _name(session, step, notice.image_uids)
        _weigh_again(session, [step.study_instance_uid for step in steps])


def _name(session: Session, notice: NoticeRow, images: Collection[str]) -> None:
    if images:
        rows = [{"notice_id": notice.id, "sop_instance_uid": uid} for uid in images]
        session.execute(insert(NamedImageRow), rows)


def _weigh_again(session: Session, studies: Collection[str]) -> None:
    """Let the sweeper ask the notices of these studies again; in the order in which arrivals lock studies."""
    for study in sorted(filter(None, studies)):
        one_at_a_time(session, study)
        session.execute(
            update(StudyRow)
            .where(StudyRow.study_instance_uid == study, StudyRow.state == StudyState.RECEIVING)
            .values(arrivals_weighed=TO_BE_WEIGHED)
        )


def claim_of(session: Session, study_instance_uid: str, *, available_since: datetime) -> Claim:
    """What the notices of a study say of it; a step that was discontinued says nothing.

    An archive may tell of a part of its study: what it names is waited for, and ends no wait.

    Parameters
    ----------
    available_since
        What archives told before has lapsed.
    """
    of_study = NoticeRow.study_instance_uid == study_instance_uid
    going_on = select(NoticeRow.id).where(of_study, NoticeRow.status == StepStatus.IN_PROGRESS)
    if session.scalar(going_on.limit(1)) is not None:
        return Claim.MORE_TO_COME
    named = select(NamedImageRow.sop_instance_uid).join(NoticeRow, NoticeRow.id == NamedImageRow.notice_id)
    completed = NoticeRow.status == StepStatus.COMPLETED
    available = (NoticeRow.status == _AVAILABLE) & (NoticeRow.changed_at_utc >= available_since)
    held = exists().where(InstanceRow.sop_instance_uid == NamedImageRow.sop_instance_uid)
    missing = named.where(of_study, or_(completed, available), ~held)
    if session.scalar(missing.limit(1)) is not None:
        return Claim.MORE_TO_COME
    made = session.scalar(named.where(of_study, completed).limit(1))
    return Claim.NOTHING if made is None else Claim.WHOLE


def forget_notices(engine: Engine, now: datetime) -> None:
    """Delete what nobody has spoken of for longer than notices are remembered."""
    old = select(NoticeRow.id).where(NoticeRow.changed_at_utc < now - REMEMBERED)
    with writing(engine) as session:
        session.execute(delete(NamedImageRow).where(NamedImageRow.notice_id.in_(old)))
        session.execute(delete(NoticeRow).where(NoticeRow.changed_at_utc < now - REMEMBERED))
