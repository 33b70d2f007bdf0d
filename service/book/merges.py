"""Patients whose numbers became one: what is undelivered is made anew with the surviving number, the rest is flagged.

The images keep the header they came with; the number that stands in its place is kept beside the study, and every
result that is built from then on carries it. A new version of the Draft, with the readings of the one before, goes to
exactly those destinations that have not had their result yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Engine, delete, exists, select, update
from sqlalchemy.orm import Session, aliased

from clinical import Draft, Permanent, Transient, draft_from_json, draft_to_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import reading
from service.book.outbox import RETRACTED, SIGNED, close_study
from service.book.patient_numbers import PatientKey, contradict, of_standing_image, standing
from service.book.states import (
    TAKES_BACK,
    DeliveryState,
    InstanceState,
    StudyState,
    checked_study_change,
)
from service.book.tables import (
    CatalogueRow,
    DeliveryRow,
    DraftRow,
    InstanceRow,
    KeptPatientRow,
    RekeyedRow,
    StudyRow,
)

MERGED_CODE = "patient-merged"
_CHANGED = "the patient's number has changed"
_LOOK = "was delivered before the patient's number changed: see that it stands with the right patient there"
_D = DeliveryState
_I = InstanceState
_NOT_SENT = (_D.PENDING, _D.HELD, _D.UNMATCHED, _D.GAVE_UP, _D.REFUSED, _D.WOULD_SEND)
# Studies with a Draft that is not told yet, and those whose outbox is written.
_UNTOLD = (StudyState.DRAFTED, StudyState.TELLING)
_TOLD = (StudyState.DELIVERING, StudyState.DONE, StudyState.FAILED)


def studies_of_patient(session: Session, patient_id: str, issuers: Collection[str]) -> list[tuple[int, str]]:
    """Row numbers of the studies that have this patient's number now, oldest first, each with the number's issuer."""
    named = list(issuers)
    rekeyed = select(RekeyedRow.study_id, RekeyedRow.issuer).where(
        RekeyedRow.patient_id == patient_id, RekeyedRow.issuer.in_(named)
    )
    catalogued = (
        select(CatalogueRow.study_id, CatalogueRow.issuer_of_patient_id)
        .where(CatalogueRow.patient_id == patient_id, CatalogueRow.issuer_of_patient_id.in_(named))
        .where(of_standing_image(), CatalogueRow.study_id.not_in(select(RekeyedRow.study_id)))
    )
    kept = select(KeptPatientRow.study_id, KeptPatientRow.issuer).where(
        KeptPatientRow.patient_id == patient_id,
        KeptPatientRow.issuer.in_(named),
        KeptPatientRow.study_id.not_in(select(RekeyedRow.study_id)),
    )
    found = {row[0]: row[1] for query in (rekeyed, catalogued, kept) for row in session.execute(query)}
    return sorted(found.items())


def rekey_study(session: Session, study_id: int, key: PatientKey, *, actor: str, now: datetime) -> None:
    """Let a study's results carry another number of its patient from now on."""
    study = session.get(StudyRow, study_id, with_for_update=True)
    if study is None:
        return
    row = RekeyedRow(study_id=study_id, patient_id=key.patient_id, issuer=key.issuer, rekeyed_at_utc=now)
    session.merge(row)
    flagged = _flag_delivered(session, study_id)
    why_not = _hindrance(session, study)
    places = _stop_undelivered(session, study_id, why_not.message if why_not else "it is made anew")
    if why_not is not None:
        places = ()
    elif StudyState(study.state) in _UNTOLD:
        _new_version(session, study, key, None, now)
    elif places and StudyState(study.state) in _TOLD:
        _new_version(session, study, key, places, now)
    close_study(session, study_id, now)
    detail = f"{flagged} destinations have results, {len(places)} get them anew"
    note(session, AuditEvent(Action.MERGE, actor, Subject.STUDY, study_id, detail=detail), now)


def _flag_delivered(session: Session, study_id: int) -> int:
    """One delivery for each destination that has a result: what a person should look at; how many."""
    rows = session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.state == _D.DELIVERED)
        .where(DeliveryRow.kind.not_in(TAKES_BACK))
        .order_by(DeliveryRow.draft_id, DeliveryRow.id.desc())
        .with_for_update()
    ).all()
    newest = {row.destination: row for row in rows}
    for row in newest.values():
        row.reason_code, row.reason = MERGED_CODE, _LOOK
    return len(newest)


def _stop_undelivered(session: Session, study_id: int, what_follows: str) -> tuple[str, ...]:
    """End what has not arrived; the destinations it was for. What is being sent just now gets a successor too."""
    mine = (DeliveryRow.study_id == study_id) & DeliveryRow.kind.not_in(TAKES_BACK)
    beside = aliased(DeliveryRow)
    taken = exists().where(
        beside.draft_id == DeliveryRow.draft_id,
        beside.destination == DeliveryRow.destination,
        beside.state == _D.DELIVERED,
        beside.kind.not_in(TAKES_BACK),
    )
    # A destination that refuses one kind and has taken another waits for nothing.
    ended = (DeliveryRow.state == _D.REFUSED) & ((DeliveryRow.reason_code == "dropped") | taken)
    waiting = DeliveryRow.state.in_([*_NOT_SENT, _D.SENDING])
    places = session.scalars(select(DeliveryRow.destination).where(mine, waiting, ~ended).distinct()).all()
    session.execute(
        update(DeliveryRow)
        .where(mine, DeliveryRow.state.in_(_NOT_SENT), ~ended)
        .values(
            state=_D.SUPERSEDED,
            reason_code=MERGED_CODE,
            reason=f"{_CHANGED}; {what_follows}",
            due_at_utc=None,
            enqueued_at_utc=None,
        )
        .execution_options(synchronize_session="fetch")
    )
    return tuple(sorted(places))


def _hindrance(session: Session, study: StudyRow) -> Permanent | None:
    """Why no version can be made with the readings of the newest Draft; None where one can."""
    newest = _newest_draft(session, study.id)
    if study.signed_at_utc is not None:
        return Permanent(*SIGNED)
    if newest is None or newest.purged_at_utc is not None:
        return Permanent("results-purged", "there is no draft of the study any more to make a result of")
    if newest.version <= study.retracted_version:
        return Permanent(*RETRACTED)
    images = select(InstanceRow.sop_instance_uid).where(
        InstanceRow.study_id == study.id, InstanceRow.state.not_in([_I.RECEIVED, _I.DUPLICATE])
    )
    gone = set(session.scalars(images.where(InstanceRow.purged_at_utc.is_not(None))))
    gone -= set(session.scalars(images.where(InstanceRow.purged_at_utc.is_(None))))
    if gone.intersection(draft_from_json(newest.draft_json).image_uids):
        return Permanent("images-purged", "the study's images are purged: no result can be made of them")
    return None


def _newest_draft(session: Session, study_id: int) -> DraftRow | None:
    return session.scalars(
        select(DraftRow).where(DraftRow.study_id == study_id).order_by(DraftRow.version.desc()).limit(1)
    ).first()


def _new_version(
    session: Session, study: StudyRow, key: PatientKey, places: Collection[str] | None, now: datetime
) -> None:
    """A version with the readings of the newest one, to be told; whoever tells the older one has lost it."""
    before = _newest_draft(session, study.id)
    if before is None or before.purged_at_utc is not None:
        return
    made = replace(
        with_key(draft_from_json(before.draft_json), key), version=before.version + 1, completed_at_utc=now
    )
    told_to = before.told_to_json if places is None else json.dumps(sorted(places))
    session.add(
        DraftRow(
            study_id=study.id,
            version=made.version,
            outcome=made.outcome,
            draft_json=draft_to_json(made),
            created_at_utc=now,
            told_to_json=told_to,
        )
    )
    study.state = checked_study_change(StudyState(study.state), StudyState.DRAFTED)
    study.draft_version, study.attempts = made.version, 0
    study.fence += 1
    study.lease_owner, study.lease_until_utc, study.enqueued_at_utc, study.due_at_utc = "", None, None, None
    study.updated_at_utc = now


def with_key(draft: Draft, key: PatientKey) -> Draft:
    """The Draft with the digest of what its faces copy now: other UIDs follow from it."""
    text = "\0".join((draft.header_digest, key.patient_id, key.issuer))
    return replace(draft, header_digest=hashlib.sha256(text.encode("utf-8")).hexdigest())


def key_of(session: Session, study_id: int) -> PatientKey | None:
    """The number that stands in place of the images'; None where theirs stands."""
    row = session.get(RekeyedRow, study_id)
    return PatientKey(row.patient_id, row.issuer) if row is not None else None


def forget_strange_number(session: Session, study_id: int, said: Collection[PatientKey]) -> None:
    """Forget the number a study got from a merge of another patient, one of whose images it had by mistake.

    Parameters
    ----------
    said
        The numbers that the images say which stay.
    """
    key = key_of(session, study_id)
    stand = {standing(session, one) for one in said if one.patient_id}
    if key is not None and stand and standing(session, key) not in stand and contradict({key, *stand}):
        session.execute(delete(RekeyedRow).where(RekeyedRow.study_id == study_id))


def patient_key(engine: Engine, study_id: int) -> PatientKey | None:
    """As `key_of`, in a transaction of its own."""
    with reading(engine) as session:
        return key_of(session, study_id)


def told_to(engine: Engine, draft_id: int) -> frozenset[str] | None:
    """Names of the destinations a version of a Draft was made for; None for wherever the study's results go."""
    with reading(engine) as session:
        return _names(session.get(DraftRow, draft_id))


def told_in(session: Session, study_id: int) -> frozenset[str] | None:
    """As `told_to`, of a study's newest Draft."""
    return _names(_newest_draft(session, study_id))


def _names(draft: DraftRow | None) -> frozenset[str] | None:
    return frozenset(json.loads(draft.told_to_json)) if draft is not None and draft.told_to_json else None


def tell_anew(session: Session, row: DeliveryRow, now: datetime) -> None:
    """Make a flagged result anew for its destination, with the number that stands; then its flag is lifted.

    Raises
    ------
    Permanent
        ``report-signed``, ``retracted``, ``results-purged``, ``images-purged`` or ``not-retellable``: its flag stays,
        until a person lets it stand as it is.
    Transient
        ``study-at-work``.
    """
    study = session.get(StudyRow, row.study_id, with_for_update=True)
    key = key_of(session, row.study_id)
    if study is None or key is None or study.state == StudyState.IGNORED:
        raise Permanent("not-retellable", "there is nothing of this study to make anew")
    if study.state != StudyState.DRAFTED and study.state not in _TOLD:
        raise Transient(
            "study-at-work", "the study is being received, read or told; try again when it is done"
        )
    if (why_not := _hindrance(session, study)) is not None:
        raise why_not
    if study.state == StudyState.DRAFTED:
        _tell_also(session, study, row.destination)
    else:
        _new_version(session, study, key, (row.destination,), now)
    row.reason_code, row.reason = "", ""


def _tell_also(session: Session, study: StudyRow, destination: str) -> None:
    """Let a version that waits to be told go to one more destination; it has the number that stands."""
    waiting = _newest_draft(session, study.id)
    names = _names(waiting)
    if waiting is not None and names is not None:
        waiting.told_to_json = json.dumps(sorted({*names, destination}))
