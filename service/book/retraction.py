"""What a retraction needs of the account book: what reached which EHR, and a place in the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from clinical import Permanent, Transient
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import writing
from service.book.outbox import FELL_BACK, RETRACTED
from service.book.reached import may_be_there
from service.book.states import REJECTION_KIND, DeliveryState, StudyState, checked_study_change
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow

_RETRACTABLE = frozenset({StudyState.DONE, StudyState.FAILED, StudyState.DELIVERING, StudyState.IGNORED})


@dataclass(frozen=True, slots=True)
class PostedReport:
    """The newest report one destination may have."""

    study_id: int
    draft_id: int
    destination: str
    kind: str
    lane: str
    spool_key: str
    file_sha256: str
    retraction_there: bool
    purged: bool


def stop_and_list(
    engine: Engine, study_instance_uid: str, retractions: Mapping[str, str], *, actor: str, now: datetime
) -> list[PostedReport]:
    """Supersede what has not left yet, and list the newest report each destination was tried with.

    A delivery without an answer may have arrived all the same, so every one that was tried counts; but not one that the
    server offered no way to write, which went another way, nor one that was only tried out.

    Parameters
    ----------
    retractions
        Kinds of report that can be taken back, and the kind of artefact that does it.

    Raises
    ------
    Permanent
        ``no-such-study``.
    Transient
        ``study-at-work`` while it is received, read or told.
    """
    with writing(engine) as session:
        study = _study(session, study_instance_uid)
        waiting = [DeliveryState.PENDING, DeliveryState.UNMATCHED, DeliveryState.HELD]
        session.execute(
            update(DeliveryRow)
            .where(
                DeliveryRow.study_id == study.id,
                DeliveryRow.state.in_(waiting),
                DeliveryRow.kind.not_in([*retractions.values(), REJECTION_KIND]),
            )
            .values(state=DeliveryState.SUPERSEDED, reason_code=RETRACTED[0], reason=RETRACTED[1])
        )
        newest = select(func.max(DraftRow.version)).where(DraftRow.study_id == study.id)
        study.retracted_version = session.scalar(newest) or 0
        study.reason_code, study.reason = RETRACTED
        study.updated_at_utc = now
        note(session, AuditEvent(Action.RETRACT, actor, Subject.STUDY, study.id), now)
        return _newest(session, study.id, retractions)


def _study(session: Session, study_instance_uid: str) -> StudyRow:
    study = session.scalars(
        select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).with_for_update()
    ).first()
    if study is None:
        raise Permanent("no-such-study", "the account book has no such study")
    if study.state not in _RETRACTABLE:
        raise Transient(
            "study-at-work", "the study is being received, read or told; try again when it is done"
        )
    return study


def _newest(session: Session, study_id: int, retractions: Mapping[str, str]) -> list[PostedReport]:
    rows = session.execute(
        select(DeliveryRow, ArtefactRow)
        .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study_id, may_be_there())
        .where(DeliveryRow.kind.in_(list(retractions)), DeliveryRow.reason_code != FELL_BACK)
        .order_by(DraftRow.version)
    ).all()
    taken_back = select(DeliveryRow).where(
        DeliveryRow.study_id == study_id, DeliveryRow.kind.in_(list(retractions.values()))
    )
    retracted = {(row.draft_id, row.destination) for row in session.scalars(taken_back)}
    newest = {
        delivery.destination: PostedReport(
            study_id,
            delivery.draft_id,
            delivery.destination,
            delivery.kind,
            delivery.lane,
            artefact.spool_key,
            artefact.file_sha256,
            (delivery.draft_id, delivery.destination) in retracted,
            artefact.purged_at_utc is not None,
        )
        for delivery, artefact in rows
    }
    return list(newest.values())


def enqueue(
    engine: Engine, study_id: int, artefacts: Sequence[tuple[ArtefactRow, str]], *, now: datetime
) -> None:
    """Put stored retractions, each with its lane, into the outbox; the sweeper finds them."""
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None or not artefacts:
            return
        for artefact, lane in artefacts:
            session.add(artefact)
            session.flush()
            session.add(
                DeliveryRow(
                    study_id=study_id,
                    draft_id=artefact.draft_id,
                    artefact_id=artefact.id,
                    destination=artefact.destination,
                    kind=artefact.kind,
                    lane=lane,
                    state=DeliveryState.PENDING,
                    created_at_utc=now,
                    due_at_utc=now,
                )
            )
        study.state = checked_study_change(StudyState(study.state), StudyState.DELIVERING)
        study.updated_at_utc = now
