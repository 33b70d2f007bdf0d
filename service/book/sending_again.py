"""Deliveries that have ended or are held go into the outbox again: the stored bytes, from their first attempt on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, Select, exists, select
from sqlalchemy.orm import Session, aliased

from service.book.database import writing
from service.book.states import (
    TAKES_BACK,
    DeliveryState,
    StudyState,
    checked_delivery_change,
    checked_study_change,
)
from service.book.study_holds import hold_new
from service.book.tables import DeliveryRow, DraftRow, StudyRow


def retry_undelivered(engine: Engine, study_instance_uid: str | None, *, now: datetime) -> int:
    """Put deliveries that ended without success back into the outbox; return how many."""
    stuck = [DeliveryState.UNMATCHED, DeliveryState.REFUSED, DeliveryState.GAVE_UP]
    with writing(engine) as session:
        query = select(DeliveryRow).join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        query = query.where(DeliveryRow.state.in_(stuck))
        # What a newer version of the Draft has replaced would arrive after it.
        newer = aliased(DeliveryRow)
        same = (newer.study_id == DeliveryRow.study_id) & (newer.destination == DeliveryRow.destination)
        query = query.where(
            ~exists().where(same, newer.kind == DeliveryRow.kind, newer.draft_id > DeliveryRow.draft_id)
        )
        # What was taken back stays back, whether or not it ever arrived.
        query = query.join(DraftRow, DraftRow.id == DeliveryRow.draft_id).where(not_retracted())
        if study_instance_uid is not None:
            query = query.where(StudyRow.study_instance_uid == study_instance_uid)
        return put_back(session, query, now)


def not_retracted() -> ColumnElement[bool]:
    """Whether a joined delivery is of a version that was not taken back, or takes one back itself."""
    return (DraftRow.version > StudyRow.retracted_version) | DeliveryRow.kind.in_(TAKES_BACK)


def put_back(session: Session, deliveries: Select[DeliveryRow], now: datetime, after_s: float = 0.0) -> int:
    """As `let_go`, but what is of a study that an operator holds back is held."""
    going = let_go(session, deliveries, now, after_s)
    for row in going:
        hold_new(session.get_one(StudyRow, row.study_id), [row])
    return sum(row.state == DeliveryState.PENDING for row in going)


def let_go(
    session: Session, deliveries: Select[DeliveryRow], now: datetime, after_s: float = 0.0
) -> Sequence[DeliveryRow]:
    """Let ended or held deliveries be sent (again): the stored bytes, from their first attempt on; which.

    Parameters
    ----------
    after_s
        Seconds until they are due.
    """
    due_at_utc = now + timedelta(seconds=after_s)
    # Without an artefact there is nothing to send: such a row is held until the patient can be named.
    rows = session.scalars(deliveries.where(DeliveryRow.artefact_id.is_not(None)).with_for_update()).all()
    for row in rows:
        row.state = checked_delivery_change(DeliveryState(row.state), DeliveryState.PENDING)
        row.attempts, row.due_at_utc, row.enqueued_at_utc, row.created_at_utc = 0, due_at_utc, None, now
        study = session.get(StudyRow, row.study_id, with_for_update=True)
        if study is not None and study.state in (StudyState.DONE, StudyState.FAILED):
            study.state = checked_study_change(StudyState(study.state), StudyState.DELIVERING)
            study.updated_at_utc = now
    return rows
