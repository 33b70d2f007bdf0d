"""Retention: which files of ended studies have had their time. Their rows stay and say when they were purged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from service.book.audit import Action, AuditEvent, Subject, note
from service.book.confirmation import unconfirmed
from service.book.database import reading, writing
from service.book.patient_numbers import of_standing_image
from service.book.states import DELIVERY_OPEN, STUDY_ENDS, InstanceState
from service.book.tables import (
    ArtefactRow,
    CatalogueRow,
    DeliveryRow,
    DraftRow,
    InstanceRow,
    KeptPatientRow,
    ShadowRow,
    StudyRow,
)

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
    confirmed_by
        Archives that must have confirmed what they were given before the study's results may go.
    """

    received_days: float | None = None
    results_days: float | None = None
    confirmed_by: frozenset[str] = frozenset()

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing is ever purged."""
        return self.received_days is None and self.results_days is None

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
        parts.append(and_(StudyRow.updated_at_utc < before, told, ~unconfirmed(rule.confirmed_by)))
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
        return _chosen(session, study_id, rule, now).purgeable


def purge_study(
    engine: Engine, study_id: int, rule: RetentionRule, *, actor: str, now: datetime
) -> Purgeable:
    """Mark a study's files as purged; only then may the caller delete them.

    The study is looked at again under its lock: one that has moved meanwhile keeps everything.
    """
    with writing(engine) as session:
        session.scalars(select(StudyRow.id).where(StudyRow.id == study_id).with_for_update()).all()
        chosen = _chosen(session, study_id, rule, now)
        found = chosen.purgeable
        if found.is_empty:
            return found
        for instance in chosen.instances:
            instance.purged_at_utc = now
        for artefact in chosen.artefacts:
            artefact.purged_at_utc = now
        _forget_texts(session, chosen, now)
        detail = (
            f"{len(chosen.instances)} objects, {len(chosen.artefacts)} results, {len(chosen.drafts)} drafts"
        )
        note(session, AuditEvent(Action.PURGE, actor, Subject.STUDY, study_id, detail=detail), now)
        return found


def _forget_texts(session: Session, chosen: _Chosen, now: datetime) -> None:
    """Copies of what the purged files say: headers, Drafts, and what a shadow model read of the same images."""
    _keep_patients(session, chosen)
    session.execute(
        delete(CatalogueRow).where(
            or_(
                CatalogueRow.instance_id.in_([row.id for row in chosen.instances]),
                CatalogueRow.artefact_id.in_([row.id for row in chosen.artefacts]),
            )
        )
    )
    for draft in chosen.drafts:
        draft.purged_at_utc, draft.draft_json = now, ""
    session.execute(delete(ShadowRow).where(ShadowRow.draft_id.in_([row.id for row in chosen.drafts])))


def _keep_patients(session: Session, chosen: _Chosen) -> None:
    """As long as a study has results, a merge of its patient must find it: they name the patient by that number."""
    mine = KeptPatientRow.study_id == chosen.study_id
    if chosen.drafts:
        session.execute(delete(KeptPatientRow).where(mine))
        return
    told = select(DraftRow.id).where(DraftRow.study_id == chosen.study_id, DraftRow.purged_at_utc.is_(None))
    if session.scalars(told.limit(1)).first() is None:
        return
    named = select(CatalogueRow.patient_id, CatalogueRow.issuer_of_patient_id).where(
        CatalogueRow.instance_id.in_([row.id for row in chosen.instances]), of_standing_image()
    )
    for patient_id, issuer in session.execute(named.distinct()).all():
        session.merge(KeptPatientRow(study_id=chosen.study_id, patient_id=patient_id, issuer=issuer))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Rows of one study whose files, texts or both have had their time."""

    study_id: int
    instances: Sequence[InstanceRow] = ()
    artefacts: Sequence[ArtefactRow] = ()
    drafts: Sequence[DraftRow] = ()

    @property
    def purgeable(self) -> Purgeable:
        return Purgeable(
            self.study_id,
            tuple(row.spool_key for row in self.instances),
            tuple(row.spool_key for row in self.artefacts),
            len(self.drafts),
            sum(row.size_bytes for row in self.instances) + sum(row.size_bytes for row in self.artefacts),
        )


def _chosen(session: Session, study_id: int, rule: RetentionRule, now: datetime) -> _Chosen:
    study = session.scalars(select(StudyRow).where(StudyRow.id == study_id, _ended())).first()
    if study is None:
        return _Chosen(study_id)
    ended_at_utc = study.updated_at_utc
    instances: Sequence[InstanceRow] = ()
    if (before := rule.received_before(now)) is not None and ended_at_utc < before:
        held = InstanceRow.purged_at_utc.is_(None) & InstanceRow.state.in_(_PURGED_STATES)
        instances = session.scalars(select(InstanceRow).where(InstanceRow.study_id == study_id, held)).all()
    if (before := rule.results_before(now)) is None or ended_at_utc >= before:
        return _Chosen(study_id, instances)
    if session.scalar(select(StudyRow.id).where(StudyRow.id == study_id, unconfirmed(rule.confirmed_by))):
        return _Chosen(study_id, instances)
    drafts = session.scalars(
        select(DraftRow).where(DraftRow.study_id == study_id, DraftRow.purged_at_utc.is_(None))
    ).all()
    if not drafts:
        return _Chosen(study_id, instances)
    # A rejection of a version that was purged before is among them: it belongs to that one, and came later.
    of_study = select(DraftRow.id).where(DraftRow.study_id == study_id)
    artefacts = session.scalars(
        select(ArtefactRow).where(ArtefactRow.draft_id.in_(of_study), ArtefactRow.purged_at_utc.is_(None))
    ).all()
    return _Chosen(study_id, instances, artefacts, drafts)


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
