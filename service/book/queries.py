"""What the listings show: where study X is, what happened to each of its images and results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, literal, select, tuple_
from sqlalchemy.orm import Session

from clinical import Draft, Permanent, draft_from_json
from service.book.database import reading, writing
from service.book.final_reports import FinalReport, final_report_of
from service.book.states import STUDY_ENDS, StudyState
from service.book.tables import (
    DeliveryAttemptRow,
    DeliveryRow,
    DraftRow,
    InstanceRow,
    RoleRow,
    StudyRow,
    UtcDateTime,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One line of the study list."""

    study_row_id: int
    study_instance_uid: str
    state: str
    outcome: str
    draft_version: int
    image_count: int
    attempts: int
    reason_code: str
    reason: str
    received_at_utc: datetime
    updated_at_utc: datetime
    priority: int = 0
    critical: str = ""
    signed_at_utc: datetime | None = None


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """One received object of a study."""

    instance_row_id: int
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    state: str
    reason_code: str
    reason: str
    receipt_count: int
    size_bytes: int
    received_at_utc: datetime
    state_since_utc: datetime


@dataclass(frozen=True, slots=True)
class AttemptSummary:
    """One line of the delivery log: how one attempt ended, with the destination's DIMSE or HTTP status."""

    number: int
    started_at_utc: datetime
    ended_at_utc: datetime
    state: str
    status: str
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """One artefact on its way to one destination."""

    delivery_row_id: int
    destination: str
    kind: str
    state: str
    attempts: int
    last_status: str
    reason_code: str
    reason: str
    draft_version: int
    due_at_utc: datetime | None
    delivered_at_utc: datetime | None
    log: tuple[AttemptSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyDetail:
    """Everything the book knows of one study.

    Attributes
    ----------
    completed_by
        What ends, or ended, its wait for more images (`states.CompletedBy`); empty where nothing was waited for.
    """

    summary: StudySummary
    instances: tuple[InstanceSummary, ...]
    deliveries: tuple[DeliverySummary, ...]
    draft: Draft | None
    final_report: FinalReport | None = None
    completed_by: str = ""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """A role's last sign of life.

    Attributes
    ----------
    figures
        What its process measures of itself, see `service.worker_figures`.
    """

    name: str
    ready: bool
    detail: str
    seen_at_utc: datetime
    figures: Mapping[str, Any] = field(default_factory=dict)


def _summary(row: StudyRow, image_count: int) -> StudySummary:
    return StudySummary(
        row.id,
        row.study_instance_uid,
        row.state,
        row.outcome,
        row.draft_version,
        image_count,
        row.attempts,
        row.reason_code,
        row.reason,
        row.first_received_at_utc,
        row.updated_at_utc,
        row.priority,
        row.critical,
        row.signed_at_utc,
    )


@dataclass(frozen=True, slots=True)
class StudyCursor:
    """A place in the study list: after the study with this row number and time of change.

    Written ``MICROSECONDS-ROW``: microseconds since 1970 (UTC).
    """

    updated_at_utc: datetime
    study_row_id: int

    def __str__(self) -> str:
        return f"{(self.updated_at_utc - _EPOCH) // _MICROSECOND}-{self.study_row_id}"

    @classmethod
    def of(cls, summary: StudySummary) -> StudyCursor:
        """The place after a study of the list."""
        return cls(summary.updated_at_utc, summary.study_row_id)

    @classmethod
    def parse(cls, text: str) -> StudyCursor:
        """The place `text` writes down.

        Raises
        ------
        Permanent
            ``malformed-cursor``.
        """
        parts = text.split("-")
        if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise Permanent(
                "malformed-cursor", "a place in the list is two numbers, as an earlier page gave them"
            )
        try:
            return cls(_EPOCH + int(parts[0]) * _MICROSECOND, int(parts[1]))
        except OverflowError:
            raise Permanent("malformed-cursor", "a place in the list is beyond all times") from None


def list_studies(
    engine: Engine, *, state: str | None, limit: int, offset: int, after: StudyCursor | None = None
) -> list[StudySummary]:
    """Studies, the most recently changed first.

    Pages by `after` cost the same wherever they are in the list; pages by `offset` cost what they skip.
    """
    with reading(engine) as session:
        query = select(StudyRow).order_by(StudyRow.updated_at_utc.desc(), StudyRow.id.desc())
        if state is not None:
            query = query.where(StudyRow.state == state)
        if after is not None:
            place = tuple_(literal(after.updated_at_utc, UtcDateTime()), after.study_row_id)
            query = query.where(tuple_(StudyRow.updated_at_utc, StudyRow.id) < place)
        rows = session.scalars(query.limit(limit).offset(offset)).all()
        counts = _image_counts(session, [row.id for row in rows])
        return [_summary(row, counts.get(row.id, 0)) for row in rows]


def _image_counts(session: Session, study_ids: list[int]) -> dict[int, int]:
    query = (
        select(InstanceRow.study_id, func.count())
        .where(InstanceRow.study_id.in_(study_ids))
        .group_by(InstanceRow.study_id)
    )
    return {row[0]: row[1] for row in session.execute(query).all()}


def study_detail(engine: Engine, study_instance_uid: str) -> StudyDetail | None:
    """One study with its objects, deliveries and newest Draft; None if the book has no such study."""
    with reading(engine) as session:
        row = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid)
        ).first()
        if row is None:
            return None
        instances = session.scalars(
            select(InstanceRow).where(InstanceRow.study_id == row.id).order_by(InstanceRow.id)
        ).all()
        draft = session.scalars(
            select(DraftRow).where(DraftRow.study_id == row.id).order_by(DraftRow.version.desc()).limit(1)
        ).first()
        return StudyDetail(
            _summary(row, len(instances)),
            tuple(_instance(i) for i in instances),
            tuple(_deliveries(session, row.id)),
            draft_from_json(draft.draft_json) if draft and draft.purged_at_utc is None else None,
            final_report_of(session, row.id),
            row.completed_by,
        )


def _instance(row: InstanceRow) -> InstanceSummary:
    return InstanceSummary(
        row.id,
        row.sop_instance_uid,
        row.sop_class_uid,
        row.modality,
        row.state,
        row.reason_code,
        row.reason,
        row.receipt_count,
        row.size_bytes,
        row.received_at_utc,
        row.state_since_utc,
    )


def _deliveries(session: Session, study_id: int) -> list[DeliverySummary]:
    rows = session.execute(
        select(DeliveryRow, DraftRow.version)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study_id)
        .order_by(DeliveryRow.id)
    ).all()
    logs = _logs(session, [row.id for row, _ in rows])
    return [
        DeliverySummary(
            row.id,
            row.destination,
            row.kind,
            row.state,
            row.attempts,
            row.last_status,
            row.reason_code,
            row.reason,
            version,
            row.due_at_utc,
            row.delivered_at_utc,
            tuple(logs.get(row.id, ())),
        )
        for row, version in rows
    ]


def _logs(session: Session, delivery_ids: list[int]) -> dict[int, list[AttemptSummary]]:
    logs: dict[int, list[AttemptSummary]] = {}
    attempts = session.scalars(
        select(DeliveryAttemptRow)
        .where(DeliveryAttemptRow.delivery_id.in_(delivery_ids))
        .order_by(DeliveryAttemptRow.id)
    )
    for row in attempts:
        logs.setdefault(row.delivery_id, []).append(
            AttemptSummary(
                row.number,
                row.started_at_utc,
                row.ended_at_utc,
                row.state,
                row.status,
                row.reason_code,
                row.reason,
            )
        )
    return logs


def note_role(
    engine: Engine, name: str, *, ready: bool, detail: str, now: datetime, figures: Mapping[str, Any]
) -> None:
    """Write a role's sign of life."""
    with writing(engine) as session:
        row = session.get(RoleRow, name)
        if row is None:
            row = RoleRow(name=name)
            session.add(row)
        row.ready, row.detail, row.seen_at_utc = ready, detail[:255], now
        row.figures_json = json.dumps(figures)


def live_roles(engine: Engine, *, now: datetime, max_age_s: float) -> list[RoleStatus]:
    """Roles that gave a sign of life within `max_age_s`."""
    with reading(engine) as session:
        since = now - timedelta(seconds=max_age_s)
        rows = session.scalars(
            select(RoleRow).where(RoleRow.seen_at_utc >= since).order_by(RoleRow.name)
        ).all()
        return [
            RoleStatus(row.name, row.ready, row.detail, row.seen_at_utc, json.loads(row.figures_json))
            for row in rows
        ]


def oldest_unfinished(engine: Engine) -> datetime | None:
    """When the study that has waited longest without an end was received."""
    with reading(engine) as session:
        # Named one by one: an index finds what is in a state, never what is not.
        unfinished = [state.value for state in StudyState if state not in STUDY_ENDS]
        return session.scalar(
            select(func.min(StudyRow.first_received_at_utc)).where(StudyRow.state.in_(unfinished))
        )
