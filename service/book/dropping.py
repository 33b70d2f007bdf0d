"""An operator drops a stray image of a study: it stays in the book, and nothing of it is read, told or shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine, exists, select
from sqlalchemy.orm import Session

from clinical import Permanent, Transient, draft_from_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import writing
from service.book.merges import forget_strange_number
from service.book.patient_numbers import PatientKey
from service.book.receipts import QuietRule, reopen
from service.book.states import (
    TAKES_BACK,
    CompletedBy,
    InstanceState,
    StudyState,
    checked_instance_change,
    checked_study_change,
)
from service.book.study_images import DROPPED, READ_STATES
from service.book.tables import DeliveryRow, DraftRow, InstanceRow, StudyRow

# While these last, a worker holds the image in its hands.
_AT_WORK = frozenset({StudyState.READING, StudyState.DRAFTED, StudyState.TELLING})
# Not read yet: its next reading is under way already and finds one image less.
_UNREAD = frozenset({StudyState.RECEIVING, StudyState.QUEUED})
# The person who drops an image has waited long enough.
_AT_ONCE = QuietRule(0.0, 0.0)
_LEFT = ("no-image-left", "every image to read was dropped by an operator")


def drop_image(
    engine: Engine,
    study_instance_uid: str,
    sop_instance_uid: str,
    reason: str,
    *,
    patients: Collection[PatientKey],
    actor: str,
    now: datetime,
) -> StudyState:
    """Take one image out of a study; where a Draft names it, the study is read again without it.

    The new version supersedes the older one everywhere. The image's file and row stay and its receipts count on; sent
    again as it was, it stays dropped, and with a corrected header it takes its place again. Asked for again, this
    changes nothing.

    Parameters
    ----------
    reason
        The operator's words; kept beside the image, at most 255 characters.
    patients
        The patients' numbers that the headers of the study's other images say.

    Returns
    -------
    StudyState
        Where the study stands now.

    Raises
    ------
    Permanent
        ``no-such-study``; ``no-such-image`` where the study holds none with this UID; ``images-purged`` where the study
        cannot be read again; ``last-image`` where results were told and nothing would be left to replace them.
    Transient
        ``study-at-work`` while the study is being read or told, or its results are being taken back.
    """
    with writing(engine) as session:
        study = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).with_for_update()
        ).first()
        if study is None:
            raise Permanent("no-such-study", "the account book has no such study")
        rows, others = _split(session, study, sop_instance_uid)
        if all(row.reason_code == DROPPED for row in rows):
            return StudyState(study.state)
        named = _named_by_draft(session, study, sop_instance_uid)
        left = [row for row in others if row.state in READ_STATES]
        _refuse(session, study, rows, left, named=named)
        for row in rows:
            if row.state != InstanceState.IGNORED:
                row.state = checked_instance_change(InstanceState(row.state), InstanceState.IGNORED)
            row.reason_code, row.reason, row.state_since_utc = DROPPED, reason[:255], now
            note(session, AuditEvent(Action.DROP, actor, Subject.INSTANCE, row.id, detail=study.state), now)
        session.flush()
        forget_strange_number(session, study.id, patients)
        _move_on(study, something_left=bool(left), named=named, now=now)
        return StudyState(study.state)


def _split(
    session: Session, study: StudyRow, sop_instance_uid: str
) -> tuple[list[InstanceRow], list[InstanceRow]]:
    """The rows of the image that stand or wait for a person, and those of the study's other images."""
    rows = session.scalars(
        select(InstanceRow)
        .where(InstanceRow.study_id == study.id, InstanceRow.state != InstanceState.DUPLICATE)
        .order_by(InstanceRow.id)
    ).all()
    mine = [row for row in rows if row.sop_instance_uid == sop_instance_uid]
    if not mine:
        raise Permanent("no-such-image", "the study holds no image with this SOP Instance UID")
    return mine, [row for row in rows if row.sop_instance_uid != sop_instance_uid]


def _named_by_draft(session: Session, study: StudyRow, sop_instance_uid: str) -> bool:
    """Whether the newest Draft speaks of the image. One whose text is purged may have."""
    newest = session.scalars(
        select(DraftRow).where(DraftRow.study_id == study.id).order_by(DraftRow.version.desc()).limit(1)
    ).first()
    if newest is None:
        return False
    return (
        newest.purged_at_utc is not None or sop_instance_uid in draft_from_json(newest.draft_json).image_uids
    )


def _refuse(
    session: Session,
    study: StudyRow,
    rows: Sequence[InstanceRow],
    left: Sequence[InstanceRow],
    *,
    named: bool,
) -> None:
    # One that came again with other bytes is about to be compared: what becomes of it depends on the one that stands.
    compared = any(row.state == InstanceState.RECEIVED for row in rows)
    if study.state in _AT_WORK or compared:
        raise Transient("study-at-work", "the study is being read or told; try again when it is done")
    if not named:
        return
    if any(row.purged_at_utc is not None for row in left):
        raise Permanent(
            "images-purged",
            "other images of the study are purged: it cannot be read again; have it sent again, or retract it",
        )
    if not left and _stands_somewhere(session, study):
        raise Permanent(
            "last-image",
            "no other image is left to read, so no new version would replace what was told: retract the study first",
        )
    if not left and study.state == StudyState.DELIVERING:
        raise Transient("study-at-work", "its results are being taken back; try again when it is done")


def _stands_somewhere(session: Session, study: StudyRow) -> bool:
    """Whether results may stand at a destination that nobody has taken back."""
    told = exists().where(DeliveryRow.study_id == study.id, DeliveryRow.kind.not_in(TAKES_BACK))
    return study.draft_version > study.retracted_version and bool(session.scalar(select(told)))


def _move_on(study: StudyRow, *, something_left: bool, named: bool, now: datetime) -> None:
    state = StudyState(study.state)
    study.updated_at_utc = now
    if something_left:
        if named and state not in _UNREAD:
            reopen(study, _AT_ONCE, now=now)
            study.completed_by = CompletedBy.OPERATOR
        return
    if state is not StudyState.IGNORED and (named or state in _UNREAD):
        study.state = checked_study_change(state, StudyState.IGNORED)
        study.due_at_utc = None
    if study.state == StudyState.IGNORED:
        study.reason_code, study.reason = _LEFT
