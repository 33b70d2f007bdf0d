"""Whether a study has come whole, by what an archive says it has and by what notices name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, exists, func, or_, select
from sqlalchemy.orm import Session

from service.book.database import reading, writing
from service.book.notices import Claim, claim_of
from service.book.receipts import QuietRule
from service.book.states import CompletedBy, InstanceState, StudyState
from service.book.tables import InstanceRow, NoticeRow, StudyRow


@dataclass(frozen=True, slots=True)
class Arriving:
    """A study whose images are arriving."""

    study_id: int
    study_instance_uid: str


def studies_to_count(engine: Engine, *, asked_before: datetime, limit: int = 50) -> list[Arriving]:
    """Studies on their way to their first Draft about which the archive was not asked since then.

    Later the archive holds our own results too, and its number says nothing of what is still to come.
    """
    query = select(StudyRow.id, StudyRow.study_instance_uid).where(
        StudyRow.state == StudyState.RECEIVING,
        StudyRow.draft_version == 0,
        or_(StudyRow.expected_asked_at_utc.is_(None), StudyRow.expected_asked_at_utc <= asked_before),
    )
    with reading(engine) as session:
        rows = session.execute(query.order_by(StudyRow.due_at_utc).limit(limit))
        return [Arriving(row[0], row[1]) for row in rows]


def note_expected(
    engine: Engine,
    study_id: int,
    expected: int | None,
    rule: QuietRule,
    *,
    settled_s: float,
    now: datetime,
) -> None:
    """Write down what the archive says; a study that has come whole need not wait out its quiet period.

    Parameters
    ----------
    expected
        Objects the archive has of the study; None where it cannot say: then the quiet period stands.
    settled_s
        Silence after which a study that has all the archive has counts as complete: the archive itself may still be
        receiving.
    """
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None or study.state != StudyState.RECEIVING:
            return
        study.expected_images, study.expected_asked_at_utc = expected, now
        if study.completed_by != CompletedBy.EARLY:
            study.due_at_utc, study.completed_by = _due(session, study, rule, settled_s)


def weigh_notices(engine: Engine, rule: QuietRule, *, settled_s: float, limit: int = 200) -> int:
    """Let notices say when arriving studies are due; how many changed.

    A study that notices name is not queued before this has looked at its last arrival. One that is read early is left
    alone.

    Parameters
    ----------
    settled_s
        Silence after which a study with every named image counts as complete.
    """
    noticed = exists().where(NoticeRow.study_instance_uid == StudyRow.study_instance_uid)
    arriving = (
        select(StudyRow)
        .where(StudyRow.state == StudyState.RECEIVING, StudyRow.completed_by != CompletedBy.EARLY, noticed)
        .order_by(StudyRow.due_at_utc)
    )
    with reading(engine) as session:
        moved = [
            study.id
            for study in session.scalars(arriving)
            if study.arrivals_weighed != study.arrivals
            or (study.due_at_utc, study.completed_by) != _due(session, study, rule, settled_s)
        ]
    for study_id in moved[:limit]:
        with writing(engine) as session:
            study = session.scalars(arriving.where(StudyRow.id == study_id).with_for_update()).first()
            if study is not None:
                study.due_at_utc, study.completed_by = _due(session, study, rule, settled_s)
                study.arrivals_weighed = study.arrivals
    return len(moved)


def _due(
    session: Session, study: StudyRow, rule: QuietRule, settled_s: float
) -> tuple[datetime, CompletedBy]:
    """When a study is due by all that is known of it, and by what it is complete then.

    Its quiet period and its cap bound whatever others say.
    """
    first, last = study.first_received_at_utc, study.last_received_at_utc
    claim = claim_of(session, study.study_instance_uid)
    counted = _counted(session, study)
    if claim is Claim.MORE_TO_COME or counted is Claim.MORE_TO_COME:
        return first + timedelta(seconds=rule.max_wait_s), CompletedBy.CAP
    quiet, by_quiet = rule.due(first, last), rule.completed_by(first, last)
    settled = last + timedelta(seconds=settled_s)
    if settled >= quiet or (claim is Claim.NOTHING and counted is Claim.NOTHING):
        return quiet, by_quiet
    return settled, CompletedBy.NAMED if claim is Claim.WHOLE else CompletedBy.COUNT


def _counted(session: Session, study: StudyRow) -> Claim:
    """What the archive's number says; nothing once the archive may hold results of our own."""
    if study.expected_images is None or study.draft_version > 0:
        return Claim.NOTHING
    # The archive counts a SOP Instance UID once, however often it came.
    held = session.scalar(
        select(func.count(func.distinct(InstanceRow.sop_instance_uid))).where(
            InstanceRow.study_id == study.id, InstanceRow.state != InstanceState.DUPLICATE
        )
    )
    return Claim.WHOLE if (held or 0) >= study.expected_images else Claim.MORE_TO_COME
