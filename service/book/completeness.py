"""Whether a study has come whole, by what an archive says it has and by what notices name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, Select, exists, func, or_, select
from sqlalchemy.orm import Session

from service.book.database import one_at_a_time, reading, writing
from service.book.notices import Claim, claim_of
from service.book.receipts import QuietRule
from service.book.states import COMPLETED_AT_ONCE, CompletedBy, InstanceState, StudyState
from service.book.tables import InstanceRow, NoticeRow, StudyRow


@dataclass(frozen=True, slots=True)
class CompletenessRule:
    """When a study that waits for more images is read.

    Attributes
    ----------
    quiet
        What bounds its wait, whatever others say.
    named_settled_s
        Silence after which a study counts as complete that has every image its completed steps name.
    counted_settled_s
        Silence after which one counts as complete that has all the archive has counted: the archive itself may still
        be receiving.
    """

    quiet: QuietRule
    named_settled_s: float
    counted_settled_s: float


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
    engine: Engine, study_id: int, expected: int | None, rule: CompletenessRule, *, now: datetime
) -> None:
    """Write down what the archive says; a study that has come whole need not wait out its quiet period.

    Parameters
    ----------
    expected
        Objects the archive has of the study; None where it cannot say: then the quiet period stands.
    """
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None or study.state != StudyState.RECEIVING:
            return
        study.expected_images, study.expected_asked_at_utc = expected, now
        if study.completed_by not in COMPLETED_AT_ONCE:
            study.due_at_utc, study.completed_by = _due(session, study, rule)


def weigh_notices(engine: Engine, rule: CompletenessRule, *, limit: int = 200) -> int:
    """Let notices say when arriving studies are due, where an image or a notice has come; how many were looked at.

    A study that notices name is not queued before this has looked at the last that came. One that is to be read at once
    is left alone.
    """
    waiting = select(StudyRow).where(
        StudyRow.state == StudyState.RECEIVING, StudyRow.completed_by.not_in(COMPLETED_AT_ONCE)
    )
    with reading(engine) as session:
        found = _unweighed(session, waiting, limit)
    for study_id, uid in found.items():
        with writing(engine) as session:
            # Not between a notice and its commit: it would be overlooked.
            one_at_a_time(session, uid)
            study = session.scalars(waiting.where(StudyRow.id == study_id).with_for_update()).first()
            if study is not None:
                study.due_at_utc, study.completed_by = _due(session, study, rule)
                study.arrivals_weighed = study.arrivals
    return len(found)


def _unweighed(session: Session, waiting: Select[StudyRow], limit: int) -> dict[int, str]:
    """Row id and UID of waiting studies to which something came, and of those that share a step with one."""
    rows = waiting.with_only_columns(StudyRow.id, StudyRow.study_instance_uid)
    changed = rows.where(
        StudyRow.arrivals_weighed != StudyRow.arrivals,
        exists().where(NoticeRow.study_instance_uid == StudyRow.study_instance_uid),
    )
    found = {row[0]: row[1] for row in session.execute(changed.order_by(StudyRow.due_at_utc).limit(limit))}
    if not found:
        return found
    # A step does not say which of its studies an image is of: each waits for all.
    mine = select(NoticeRow.sop_instance_uid).where(NoticeRow.study_instance_uid.in_(found.values()))
    shared = select(NoticeRow.study_instance_uid).where(NoticeRow.sop_instance_uid.in_(mine))
    sharing = session.execute(rows.where(StudyRow.study_instance_uid.in_(shared)))
    return found | {row[0]: row[1] for row in sharing}


def _due(session: Session, study: StudyRow, rule: CompletenessRule) -> tuple[datetime, CompletedBy]:
    """When a study is due by all that is known of it, and by what it is complete then.

    Its quiet period and its cap bound whatever others say.
    """
    first, last = study.first_received_at_utc, study.last_received_at_utc
    longest = timedelta(seconds=rule.quiet.max_wait_s)
    claim = claim_of(session, study.study_instance_uid, available_since=first - longest)
    counted = _counted(session, study)
    if Claim.MORE_TO_COME in (claim, counted):
        return first + longest, CompletedBy.CAP
    ends = [(rule.quiet.due(first, last), rule.quiet.completed_by(first, last))]
    if claim is Claim.WHOLE:
        ends.append((last + timedelta(seconds=rule.named_settled_s), CompletedBy.NAMED))
    if counted is Claim.WHOLE:
        ends.append((last + timedelta(seconds=rule.counted_settled_s), CompletedBy.COUNT))
    return min(ends, key=lambda end: end[0])


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
