"""The images of a study that a reading takes and a Draft may name, and where it leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.book.database import reading
from service.book.states import InstanceState, checked_instance_change
from service.book.tables import InstanceRow

_I = InstanceState
# Reason code of an image that an operator has dropped.
DROPPED = "dropped"
READ_STATES = (_I.WAITING, _I.READING, _I.ANALYSED, _I.NOT_ASSESSED, _I.FAILED)


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """One candidate image of a leased study."""

    instance_id: int
    sop_instance_uid: str
    spool_key: str
    digest: str
    state: InstanceState


@dataclass(frozen=True, slots=True)
class InstanceVerdict:
    """Where a reading leaves one instance."""

    instance_id: int
    state: InstanceState
    reason_code: str = ""
    reason: str = ""


def candidates(engine: Engine, study_id: int) -> tuple[HeldInstance, ...]:
    """The study's images to read, oldest first, with their files still there."""
    return _held_in(engine, study_id, READ_STATES)


def images_of_study(engine: Engine, study_id: int) -> tuple[HeldInstance, ...]:
    """Every image of the study a Draft may name, quarantined ones included, with their files still there."""
    return _held_in(engine, study_id, [*READ_STATES, _I.QUARANTINED, _I.IGNORED])


def _held_in(engine: Engine, study_id: int, states: Sequence[InstanceState]) -> tuple[HeldInstance, ...]:
    with reading(engine) as session:
        rows = session.scalars(
            select(InstanceRow)
            .where(
                InstanceRow.study_id == study_id,
                InstanceRow.state.in_(states),
                InstanceRow.purged_at_utc.is_(None),
                InstanceRow.reason_code != DROPPED,
            )
            .order_by(InstanceRow.id)
        ).all()
        return tuple(
            HeldInstance(row.id, row.sop_instance_uid, row.spool_key, row.digest, InstanceState(row.state))
            for row in rows
        )


def apply_verdicts(session: Session, verdicts: Sequence[InstanceVerdict], now: datetime) -> None:
    """Move each instance to where a reading or a comparison leaves it; one that is there already stays."""
    for verdict in verdicts:
        row = session.get(InstanceRow, verdict.instance_id)
        if row is None or row.state == verdict.state:
            continue
        row.state = checked_instance_change(InstanceState(row.state), verdict.state)
        row.reason_code, row.reason, row.state_since_utc = verdict.reason_code, verdict.reason[:255], now
