"""Which study is next: the quiet ones, the forgotten ones, the urgent ones, and failed ones put back."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, exists, or_, select

from service.book.database import reading, writing
from service.book.hinting import mark_hinted
from service.book.states import COMPLETED_AT_ONCE, StudyState, checked_study_change
from service.book.tables import NoticeRow, StudyRow
from service.book.walk import LEASED_FROM, release


def close_quiet_studies(engine: Engine, now: datetime) -> list[int]:
    """Queue every study whose quiet period or cap is over; return the row ids.

    One of which notices tell waits until they were asked about its last image: see `completeness.weigh_notices`.
    """
    noticed = exists().where(NoticeRow.study_instance_uid == StudyRow.study_instance_uid)
    at_once = StudyRow.completed_by.in_(COMPLETED_AT_ONCE)
    weighed = or_(at_once, StudyRow.arrivals_weighed == StudyRow.arrivals, ~noticed)
    with writing(engine) as session:
        due = session.scalars(
            select(StudyRow)
            .where(StudyRow.state == StudyState.RECEIVING, StudyRow.due_at_utc <= now, weighed)
            # A study that is being written to is not quiet: the next sweep looks again.
            .with_for_update(skip_locked=True)
        ).all()
        for study in due:
            study.state = checked_study_change(StudyState.RECEIVING, StudyState.QUEUED)
            study.due_at_utc, study.enqueued_at_utc, study.attempts = None, now, 0
            study.updated_at_utc = now
        return [study.id for study in due]


def forgotten_studies(
    engine: Engine, now: datetime, hint_age_s: float, work: StudyState, limit: int = 1000
) -> list[int]:
    """Studies that wait for `work` and lost their message or their worker; they are marked as hinted again.

    Parameters
    ----------
    hint_age_s
        Age from which an unanswered message counts as lost. A message too many is harmless: the lease decides.
    work
        Reading or telling.
    limit
        The most to name: the most urgent first, of those the oldest.
    """
    stale = now - timedelta(seconds=hint_age_s)
    unhinted = or_(StudyRow.enqueued_at_utc.is_(None), StudyRow.enqueued_at_utc <= stale)
    due = or_(StudyRow.due_at_utc.is_(None), StudyRow.due_at_utc <= now)
    waiting = (StudyRow.state == LEASED_FROM[work]) & due
    expired = (StudyRow.state == work) & (StudyRow.lease_until_utc <= now)
    wanted = (waiting | expired) & unhinted
    with reading(engine) as session:
        query = select(StudyRow.id).where(wanted).order_by(StudyRow.priority.desc(), StudyRow.id)
        ids = session.scalars(query.limit(limit)).all()
    return mark_hinted(engine, StudyRow, ids, wanted, now)


def priority_of(engine: Engine, study_id: int) -> int:
    """How urgent a study is; 0 is routine."""
    with reading(engine) as session:
        return session.scalar(select(StudyRow.priority).where(StudyRow.id == study_id)) or 0


def next_urgent(
    engine: Engine, above: int, now: datetime, state: StudyState = StudyState.QUEUED
) -> int | None:
    """The study in `state` to be worked on before one of priority `above`: the most urgent, of those the oldest."""
    with reading(engine) as session:
        due = or_(StudyRow.due_at_utc.is_(None), StudyRow.due_at_utc <= now)
        return session.scalars(
            select(StudyRow.id)
            .where(StudyRow.state == state, StudyRow.priority > above, due)
            .order_by(StudyRow.priority.desc(), StudyRow.id)
            .limit(1)
        ).first()


def requeue(engine: Engine, study_instance_uid: str | None, *, now: datetime) -> int:
    """Put failed studies (or the one named) back to be read; return how many."""
    with writing(engine) as session:
        query = select(StudyRow).where(StudyRow.state == StudyState.FAILED).with_for_update()
        if study_instance_uid is not None:
            query = query.where(StudyRow.study_instance_uid == study_instance_uid)
        rows = session.scalars(query).all()
        for row in rows:
            row.state = checked_study_change(StudyState.FAILED, StudyState.QUEUED)
            row.attempts, row.reason_code, row.reason = 0, "", ""
            release(row, now)
        return len(rows)
