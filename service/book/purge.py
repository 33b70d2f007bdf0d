"""Retention: which files of ended studies have had their time. Their rows stay and say when they were purged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading, writing
from service.book.states import DELIVERY_OPEN, STUDY_ENDS, InstanceState
from service.book.tables import ArtefactRow, CatalogueRow, DeliveryRow, DraftRow, InstanceRow, StudyRow

# A quarantined object waits for a person, however long that takes.
_PURGED_STATES = (
    InstanceState.ANALYSED,
    InstanceState.NOT_ASSESSED,
    InstanceState.IGNORED,
    InstanceState.DUPLICATE,
    InstanceState.FAILED,
)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How long files are kept after their study's last movement; None is for ever.

    Attributes
    ----------
    received_days
        Received objects.
    results_days
        Built results and the text of Drafts.
    """

    received_days: float | None = None
    results_days: float | None = None

    def received_before(self, now: datetime) -> datetime | None:
        """Studies that ended before this lose their received objects."""
        return None if self.received_days is None else now - timedelta(days=self.received_days)

    def results_before(self, now: datetime) -> datetime | None:
        """Studies that ended before this lose their results."""
        return None if self.results_days is None else now - timedelta(days=self.results_days)


@dataclass(frozen=True, slots=True)
class Purgeable:
    """What one study's retention takes, or would take."""

    study_id: int
    received_keys: tuple[str, ...]
    result_keys: tuple[str, ...]
    drafts: int
    size_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self.received_keys or self.result_keys or self.drafts)


def studies_to_purge(
    engine: Engine, rule: RetentionRule, *, now: datetime, after: int = 0, limit: int = 500
) -> list[int]:
    """Row numbers above `after` of studies that have something to purge, in their order."""
    parts: list[ColumnElement[bool]] = []
    if (before := rule.received_before(now)) is not None:
        held = exists().where(
            InstanceRow.study_id == StudyRow.id,
            InstanceRow.purged_at_utc.is_(None),
            InstanceRow.state.in_(_PURGED_STATES),
        )
        parts.append(and_(StudyRow.updated_at_utc < before, held))
    if (before := rule.results_before(now)) is not None:
        told = exists().where(DraftRow.study_id == StudyRow.id, DraftRow.purged_at_utc.is_(None))
        parts.append(and_(StudyRow.updated_at_utc < before, told))
    if not parts:
        return []
    query = select(StudyRow.id).where(StudyRow.id > after, _ended(), or_(*parts))
    with reading(engine) as session:
        return list(session.scalars(query.order_by(StudyRow.id).limit(limit)))


def _ended() -> ColumnElement[bool]:
    under_way = exists().where(DeliveryRow.study_id == StudyRow.id, DeliveryRow.state.in_(DELIVERY_OPEN))
    return and_(StudyRow.state.in_(STUDY_ENDS), ~under_way)


def look_at(engine: Engine, study_id: int, rule: RetentionRule, *, now: datetime) -> Purgeable:
    """What `purge_study` would take of a study."""
    with reading(engine) as session:
        _, _, _, found = _chosen(session, study_id, rule, now)
        return found


def purge_study(
    engine: Engine, study_id: int, rule: RetentionRule, *, actor: str, now: datetime
) -> Purgeable:
    """Mark a study's files as purged; only then may the caller delete them.

    The study is looked at again under its lock: one that has moved meanwhile keeps everything.
    """
    with writing(engine) as session:
        session.scalars(select(StudyRow.id).where(StudyRow.id == study_id).with_for_update()).all()
        instances, artefacts, drafts, found = _chosen(session, study_id, rule, now)
        if found.is_empty:
            return found
        for instance in instances:
            instance.purged_at_utc = now
        for artefact in artefacts:
            artefact.purged_at_utc = now
        session.execute(
            delete(CatalogueRow).where(
                or_(
                    CatalogueRow.instance_id.in_([row.id for row in instances]),
                    CatalogueRow.artefact_id.in_([row.id for row in artefacts]),
                )
            )
        )
        for draft in drafts:
            draft.purged_at_utc, draft.draft_json = now, ""
        detail = f"{len(instances)} objects, {len(artefacts)} results, {len(drafts)} drafts"
        note(session, AuditEvent(Action.PURGE, actor, Subject.STUDY, study_id, detail=detail), now)
        return found


def _chosen(
    session: Session, study_id: int, rule: RetentionRule, now: datetime
) -> tuple[list[InstanceRow], list[ArtefactRow], list[DraftRow], Purgeable]:
    study = session.scalars(select(StudyRow).where(StudyRow.id == study_id, _ended())).first()
    instances: list[InstanceRow] = []
    artefacts: list[ArtefactRow] = []
    drafts: list[DraftRow] = []
    received_before, results_before = rule.received_before(now), rule.results_before(now)
    if study is not None and received_before is not None and study.updated_at_utc < received_before:
        instances = list(
            session.scalars(
                select(InstanceRow).where(
                    InstanceRow.study_id == study_id,
                    InstanceRow.purged_at_utc.is_(None),
                    InstanceRow.state.in_(_PURGED_STATES),
                )
            )
        )
    if study is not None and results_before is not None and study.updated_at_utc < results_before:
        drafts = list(
            session.scalars(
                select(DraftRow).where(DraftRow.study_id == study_id, DraftRow.purged_at_utc.is_(None))
            )
        )
        artefacts = list(
            session.scalars(select(ArtefactRow).where(ArtefactRow.draft_id.in_([row.id for row in drafts])))
        )
    return (
        instances,
        artefacts,
        drafts,
        Purgeable(
            study_id,
            tuple(row.spool_key for row in instances),
            tuple(row.spool_key for row in artefacts),
            len(drafts),
            sum(row.size_bytes for row in instances) + sum(row.size_bytes for row in artefacts),
        ),
    )


def purged_among(engine: Engine, keys: list[str], *, results: bool) -> list[str]:
    """Those of these spool keys whose row says it is purged: what a purge committed and did not come to delete."""
    table = ArtefactRow if results else InstanceRow
    found: list[str] = []
    with reading(engine) as session:
        for start in range(0, len(keys), 500):
            query = select(table.spool_key).where(
                table.spool_key.in_(keys[start : start + 500]), table.purged_at_utc.is_not(None)
            )
            found.extend(session.scalars(query))
    return found
