"""Signed reports of others: a study that has one gets no draft any more, and what was undelivered is withdrawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from clinical import Draft, draft_from_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import one_at_a_time, reading
from service.book.outbox import SIGNED, close_study
from service.book.states import KEPT_AFTER_SIGNATURE, DeliveryState
from service.book.tables import AgreementRow, DeliveryRow, DraftRow, FinalReportRow, StudyRow

_log = structlog.get_logger(__name__)

_OPEN = (DeliveryState.PENDING, DeliveryState.UNMATCHED, DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class FinalReport:
    """What is kept of a study's signed report.

    Attributes
    ----------
    status
        ``"F"`` final, ``"C"`` corrected since.
    draft_version
        The version of the Draft it was compared with; 0 where there was none yet.
    verdicts
        By label (see `service.agreement.Verdict`); empty where nothing could be compared.
    """

    status: str
    signed_at_utc: datetime
    draft_version: int
    verdicts: Mapping[str, str]


def close_with_report(
    session: Session,
    study_id: int,
    status: str,
    compare: Callable[[Draft], Mapping[str, str]],
    *,
    actor: str,
    now: datetime,
) -> int:
    """Note a study's signed report, withdraw what has not left yet; return how many deliveries that were.

    A corrected report replaces the figures of the one before.

    Parameters
    ----------
    compare
        Verdict by label on the newest Draft; called where there is one.
    """
    study = session.get(StudyRow, study_id, with_for_update=True)
    if study is None:
        return 0
    study.signed_at_utc = study.signed_at_utc or now
    study.updated_at_utc = now
    open_rows = DeliveryRow.state.in_(_OPEN) & DeliveryRow.kind.not_in(list(KEPT_AFTER_SIGNATURE))
    withdrawn = session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.study_id == study_id, open_rows)
        .values(
            state=DeliveryState.SUPERSEDED,
            reason_code=SIGNED[0],
            reason=SIGNED[1],
            due_at_utc=None,
            enqueued_at_utc=None,
        )
        .execution_options(synchronize_session="fetch")
    )
    count = int(getattr(withdrawn, "rowcount", 0))
    _keep_figures(session, study_id, status, compare, now)
    close_study(session, study_id, now)
    event = AuditEvent(
        Action.SIGN, actor, Subject.STUDY, study_id, detail=f"status {status}; {count} deliveries withdrawn"
    )
    note(session, event, now)
    return count


def _keep_figures(
    session: Session,
    study_id: int,
    status: str,
    compare: Callable[[Draft], Mapping[str, str]],
    now: datetime,
) -> None:
    draft = session.scalars(
        select(DraftRow).where(DraftRow.study_id == study_id).order_by(DraftRow.version.desc()).limit(1)
    ).first()
    read = _readable(draft)
    verdicts = dict(compare(read)) if read is not None else {}
    row = session.scalars(select(FinalReportRow).where(FinalReportRow.study_id == study_id)).first()
    before: dict[str, str] = {}
    if row is None:
        row = FinalReportRow(study_id=study_id, signed_at_utc=now)
        session.add(row)
    else:
        before = json.loads(row.verdicts_json)
    row.status = status
    row.draft_version = read.version if read is not None else 0
    row.verdicts_json = json.dumps(verdicts, sort_keys=True)
    _count(session, Counter(verdicts.items()), Counter(before.items()))


def _readable(row: DraftRow | None) -> Draft | None:
    """A Draft to compare with; None where there is none any more. One that is damaged keeps no study open."""
    if row is None or row.purged_at_utc is not None:
        return None
    try:
        return draft_from_json(row.draft_json)
    except ValueError as error:
        _log.error("draft_not_readable", draft_id=row.id, error_type=type(error).__name__)
        return None


def _count(session: Session, more: Counter[tuple[str, str]], less: Counter[tuple[str, str]]) -> None:
    one_at_a_time(session, "agreement")
    for label, verdict in sorted({*more, *less}):
        change = more[label, verdict] - less[label, verdict]
        row = session.get(AgreementRow, (label, verdict))
        if row is None:
            row = AgreementRow(label=label, verdict=verdict, number=0)
            session.add(row)
        row.number += change


def final_report_of(session: Session, study_id: int) -> FinalReport | None:
    """What is kept of a study's signed report; None where none has come."""
    row = session.scalars(select(FinalReportRow).where(FinalReportRow.study_id == study_id)).first()
    if row is None:
        return None
    return FinalReport(row.status, row.signed_at_utc, row.draft_version, json.loads(row.verdicts_json))


def agreement(engine: Engine) -> dict[str, dict[str, int]]:
    """How often Drafts and signed reports agreed: number of studies by label and verdict."""
    found: dict[str, dict[str, int]] = {}
    with reading(engine) as session:
        rows = session.scalars(select(AgreementRow).order_by(AgreementRow.label, AgreementRow.verdict))
        for row in rows:
            if row.number:
                found.setdefault(row.label, {})[row.verdict] = row.number
    return found


def signed_studies(engine: Engine) -> int:
    """How many studies have a signed report."""
    with reading(engine) as session:
        return session.scalar(select(func.count()).select_from(FinalReportRow)) or 0
