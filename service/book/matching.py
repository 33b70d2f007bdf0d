"""Deliveries held because the patient could not be named: listed, and released with what was built for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from clinical import Draft, draft_from_json
from service.book.database import reading, writing
from service.book.states import DeliveryState
from service.book.study_holds import hold_new
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow


@dataclass(frozen=True, slots=True)
class HeldDelivery:
    """A delivery that waits for its patient's identifier to be mapped."""

    delivery_id: int
    study_id: int
    draft_id: int
    destination: str
    draft: Draft


def held_deliveries(engine: Engine, study_instance_uid: str | None) -> list[HeldDelivery]:
    """Unmatched deliveries of one study, or of all."""
    query = (
        select(DeliveryRow, DraftRow)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .join(StudyRow, StudyRow.id == DeliveryRow.study_id)
        .where(DeliveryRow.state == DeliveryState.UNMATCHED, DeliveryRow.artefact_id.is_(None))
        .order_by(DeliveryRow.id)
    )
    if study_instance_uid is not None:
        query = query.where(StudyRow.study_instance_uid == study_instance_uid)
    with reading(engine) as session:
        return [
            HeldDelivery(
                row.id, row.study_id, row.draft_id, row.destination, draft_from_json(made.draft_json)
            )
            for row, made in session.execute(query)
        ]


def release(engine: Engine, held: HeldDelivery, artefact: ArtefactRow, lane: str, *, now: datetime) -> bool:
    """Give a held delivery what it sends; False where it is held no longer.

    It leaves unless an operator holds its study back.
    """
    with writing(engine) as session:
        study = session.get_one(StudyRow, held.study_id, with_for_update=True)
        row = session.get(DeliveryRow, held.delivery_id, with_for_update=True)
        if row is None or row.state != DeliveryState.UNMATCHED or row.artefact_id is not None:
            return False
        session.add(artefact)
        session.flush()
        row.artefact_id, row.state, row.due_at_utc = artefact.id, DeliveryState.PENDING, now
        row.created_at_utc, row.reason_code, row.reason = now, "", ""
        row.lane = lane
        hold_new(study, [row])
        return True
