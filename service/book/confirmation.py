"""What retention keeps for an archive's sake: results it was given and has not said, or shown, to keep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, Select, and_, exists, func, or_, select
from sqlalchemy.orm import aliased

from service.book.database import reading, writing
from service.book.states import CUSTODY_ENDS, STUDY_ENDS, CustodyState, DeliveryState
from service.book.tables import CustodyRow, DeliveryRow, DraftRow, StudyRow

NOT_ASKED = "not_asked"
_ASKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Results whose time is over, and which stay because their archive does not confirm them.

    Attributes
    ----------
    state
        A `CustodyState`, ``"gave_up"`` for results that never arrived, or ``"not_asked"``.
    """

    destination: str
    state: str
    results: int


def unconfirmed(archives: Collection[str]) -> ColumnElement[bool]:
    """Whether a study has a result that one of `archives` was given, or was to get, and does not confirm.

    A result that an archive refuses for good, such as one of a SOP class it does not take, waits for nothing.
    """
    return exists().where(DeliveryRow.study_id == StudyRow.id, _without_confirmation(archives))


def _without_confirmation(archives: Collection[str]) -> ColumnElement[bool]:
    custody = aliased(CustodyRow)
    confirmed = exists().where(custody.delivery_id == DeliveryRow.id, custody.state.in_(CUSTODY_ENDS))
    there = and_(DeliveryRow.state == DeliveryState.DELIVERED, ~confirmed)
    return and_(
        DeliveryRow.destination.in_(list(archives)), or_(there, DeliveryRow.state == DeliveryState.GAVE_UP)
    )


def kept_back(engine: Engine, archives: Collection[str], *, ended_before: datetime) -> list[KeptBack]:
    """What of studies that ended before this stays for want of a confirmation, by archive and state."""
    gave_up = DeliveryRow.state == DeliveryState.GAVE_UP
    query = (
        _held(archives, ended_before)
        .add_columns(DeliveryRow.destination, gave_up, func.coalesce(CustodyRow.state, NOT_ASKED))
        .subquery()
    )
    place, failed, state = query.c[1:4]
    counted = select(place, failed, state, func.count()).group_by(place, failed, state)
    found: dict[tuple[str, str], int] = {}
    with reading(engine) as session:
        for destination, is_given_up, custody, number in session.execute(counted):
            key = destination, DeliveryState.GAVE_UP.value if is_given_up else custody
            found[key] = found.get(key, 0) + number
    return [KeptBack(*key, number) for key, number in sorted(found.items())]


def ask_about_kept(
    engine: Engine, archives: Collection[str], *, ended_before: datetime, now: datetime
) -> int:
    """Let the archives be asked about what stays although nobody asks: how many results that is.

    That is what was delivered before the archive was to be asked, and what it once could not be asked about.
    """
    query = (
        _held(archives, ended_before)
        .where(
            DeliveryRow.state == DeliveryState.DELIVERED,
            or_(CustodyRow.state.is_(None), CustodyRow.state == CustodyState.NOT_TO_BE_KNOWN),
        )
        .limit(_ASKED_AT_ONCE)
    )
    with writing(engine) as session:
        ids = session.scalars(query).all()
        for delivery_id in ids:
            session.merge(CustodyRow(delivery_id=delivery_id, state=CustodyState.DUE, due_at_utc=now))
        return len(ids)


def _held(archives: Collection[str], ended_before: datetime) -> Select[int]:
    told = exists().where(DraftRow.id == DeliveryRow.draft_id, DraftRow.purged_at_utc.is_(None))
    return (
        select(DeliveryRow.id)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .outerjoin(CustodyRow, CustodyRow.delivery_id == DeliveryRow.id)
        .where(
            StudyRow.state.in_(STUDY_ENDS),
            StudyRow.updated_at_utc < ended_before,
            told,
            _without_confirmation(archives),
        )
    )
