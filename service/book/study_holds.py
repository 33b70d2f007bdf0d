"""An operator holds a study back: what of it is told later is held from its first moment."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.book.states import REJECTION_KIND, DeliveryState
from service.book.tables import DeliveryRow, StudyRow

_EVERY = "*"


def note_hold(session: Session, study_instance_uid: str, destination: str) -> None:
    """Hold a study back from one destination, or from every one where it is empty."""
    for study in _studies(session, study_instance_uid):
        study.held_for = _written({*_read(study), destination or _EVERY})


def forget_hold(session: Session, study_instance_uid: str, destination: str) -> None:
    """End holds: of one study or of every one, for one destination or for every one.

    A study that is held back from every destination stays so until it is released for every one.
    """
    for study in _studies(session, study_instance_uid):
        study.held_for = _written(_read(study) - {destination}) if destination else ""


def hold_new(study: StudyRow, deliveries: Iterable[DeliveryRow]) -> None:
    """Hold those of a study's new deliveries that an operator holds it back from; withdrawals go all the same.

    What waits for its patient stays so: nothing is built that a release could send, and it is held once it is.
    """
    held = _read(study)
    for row in deliveries:
        waits_to_leave = row.state == DeliveryState.PENDING and row.kind != REJECTION_KIND
        if waits_to_leave and held & {_EVERY, row.destination}:
            row.state, row.due_at_utc = DeliveryState.HELD, None
            row.reason_code, row.reason = "held", "held by an operator"


def _studies(session: Session, study_instance_uid: str) -> list[StudyRow]:
    query = select(StudyRow).with_for_update()
    if study_instance_uid:
        return list(session.scalars(query.where(StudyRow.study_instance_uid == study_instance_uid)))
    return list(session.scalars(query.where(StudyRow.held_for != "")))


def _read(study: StudyRow) -> set[str]:
    return set(study.held_for.split())


def _written(names: set[str]) -> str:
    return "\n".join(sorted(names))
