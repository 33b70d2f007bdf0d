"""An operator's hand on the outbox: send these again, hold these, let these go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.sending_again import let_go, not_retracted, put_back
from service.book.states import DeliveryState, StudyState, checked_delivery_change
from service.book.study_holds import forget_hold, note_hold
from service.book.tables import DeliveryRow, DraftRow, StudyRow

# What can be sent again, and what was only tried out.
AGAIN = (DeliveryState.DELIVERED, DeliveryState.REFUSED, DeliveryState.GAVE_UP, DeliveryState.WOULD_SEND)


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries are meant; what is empty or None does not choose.

    Attributes
    ----------
    since_utc, until_utc
        When they were put into the outbox: from the first, before the second.
    """

    study_instance_uid: str = ""
    destination: str = ""
    kind: str = ""
    state: DeliveryState | None = None
    since_utc: datetime | None = None
    until_utc: datetime | None = None

    @property
    def chooses(self) -> bool:
        """Whether it leaves anything out."""
        return self != DeliveryQuery()

    @property
    def is_study_at_destination(self) -> bool:
        """Whether it chooses by study and destination alone."""
        return self == DeliveryQuery(self.study_instance_uid, self.destination)

    @property
    def in_words(self) -> str:
        """What it chooses by, without a study's UID, for the audit log."""
        named = (self.destination, self.kind, self.state.value if self.state else "")
        times = (self.since_utc, self.until_utc)
        return " ".join([*filter(None, named), *(at.isoformat(timespec="seconds") for at in times if at)])


def _chosen(query: DeliveryQuery, states: tuple[DeliveryState, ...]) -> Select[DeliveryRow]:
    chosen = select(DeliveryRow).join(StudyRow, StudyRow.id == DeliveryRow.study_id)
    chosen = chosen.where(DeliveryRow.state.in_(states))
    if query.study_instance_uid:
        chosen = chosen.where(StudyRow.study_instance_uid == query.study_instance_uid)
    if query.destination:
        chosen = chosen.where(DeliveryRow.destination == query.destination)
    if query.kind:
        chosen = chosen.where(DeliveryRow.kind == query.kind)
    if query.state is not None:
        chosen = chosen.where(DeliveryRow.state == query.state)
    if query.since_utc is not None:
        chosen = chosen.where(DeliveryRow.created_at_utc >= query.since_utc)
    if query.until_utc is not None:
        chosen = chosen.where(DeliveryRow.created_at_utc < query.until_utc)
    return chosen


def _of_newest_drafts(chosen: Select[DeliveryRow]) -> Select[DeliveryRow]:
    """Only results of a study's newest Draft, not taken back: an older one must not come after its successor."""
    return chosen.join(DraftRow, DraftRow.id == DeliveryRow.draft_id).where(
        DraftRow.version == StudyRow.draft_version,
        not_retracted(),
        StudyRow.state.in_([StudyState.DONE, StudyState.FAILED, StudyState.DELIVERING]),
    )


def would_resend(engine: Engine, query: DeliveryQuery) -> int:
    """How many deliveries `resend` would send again."""
    with reading(engine) as session:
        chosen = _of_newest_drafts(_chosen(query, AGAIN)).where(DeliveryRow.artefact_id.is_not(None))
        return session.scalar(select(func.count()).select_from(chosen.subquery())) or 0


def resend(engine: Engine, query: DeliveryQuery, *, actor: str, now: datetime) -> int:
    """Send what was delivered, refused, given up or tried out: the same stored bytes; return how many.

    Results of older versions of a Draft stay as they are.
    """
    with writing(engine) as session:
        count = put_back(session, _of_newest_drafts(_chosen(query, AGAIN)), now)
        _note(session, Action.RESEND, query, actor, count, now)
        return count


def hold(engine: Engine, query: DeliveryQuery, *, actor: str, now: datetime) -> int:
    """Keep waiting deliveries back until they are released; return how many.

    Where a study is chosen, as a whole or for one destination, what of it is told later is held back too.
    """
    with writing(engine) as session:
        if query.study_instance_uid and query.is_study_at_destination:
            note_hold(session, query.study_instance_uid, query.destination)
        rows = session.scalars(_chosen(query, (DeliveryState.PENDING,)).with_for_update()).all()
        for row in rows:
            row.state = checked_delivery_change(DeliveryState(row.state), DeliveryState.HELD)
            row.reason_code, row.reason = "held", "held by an operator"
            row.due_at_utc, row.enqueued_at_utc = None, None
        _note(session, Action.HOLD, query, actor, len(rows), now)
        return len(rows)


def release(engine: Engine, query: DeliveryQuery, *, actor: str, now: datetime) -> int:
    """Let held deliveries go; return how many."""
    with writing(engine) as session:
        if query.is_study_at_destination:
            forget_hold(session, query.study_instance_uid, query.destination)
        count = len(let_go(session, _chosen(query, (DeliveryState.HELD,)), now))
        _note(session, Action.RELEASE, query, actor, count, now)
        return count


def _note(
    session: Session, action: Action, query: DeliveryQuery, actor: str, count: int, now: datetime
) -> None:
    study_id = None
    if query.study_instance_uid:
        study_id = session.scalar(
            select(StudyRow.id).where(StudyRow.study_instance_uid == query.study_instance_uid)
        )
    event = AuditEvent(
        action, actor, Subject.STUDY, study_id, detail=f"{count} deliveries {query.in_words}".rstrip()
    )
    note(session, event, now)
