"""Objects that came with a SOP Instance UID the book knows and other bytes: found, paired and classed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, select

from service.book.database import reading, writing
from service.book.states import InstanceState
from service.book.study_images import InstanceVerdict, apply_verdicts
from service.book.tables import InstanceRow

# Of several objects with one SOP Instance UID, those that are not the one that is read.
_DO_NOT_STAND = (InstanceState.RECEIVED, InstanceState.DUPLICATE, InstanceState.QUARANTINED)


def instances_to_compare(engine: Engine, limit: int = 1000) -> list[int]:
    """Instances acknowledged with the same SOP Instance UID as an older one and other bytes."""
    with reading(engine) as session:
        query = select(InstanceRow.id).where(InstanceRow.state == InstanceState.RECEIVED).limit(limit)
        return list(session.scalars(query))


def pair_to_compare(engine: Engine, instance_id: int) -> tuple[InstanceRow, InstanceRow] | None:
    """The older instance that stands and the newer one to be classed."""
    with reading(engine) as session:
        newer = session.get(InstanceRow, instance_id)
        if newer is None or newer.state != InstanceState.RECEIVED:
            return None
        older = session.scalars(
            select(InstanceRow)
            .where(InstanceRow.sop_instance_uid == newer.sop_instance_uid, InstanceRow.id < newer.id)
            .where(InstanceRow.state.not_in(_DO_NOT_STAND))
            .order_by(InstanceRow.id.desc())
        ).first()
        if older is None:
            return None
        session.expunge_all()
        return older, newer


def class_instance(engine: Engine, verdict: InstanceVerdict, *, now: datetime) -> None:
    """Record what a compared instance turned out to be."""
    with writing(engine) as session:
        apply_verdicts(session, [verdict], now)
