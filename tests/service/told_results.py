"""Rows of a study that was read and told, for tests that begin where its results leave."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from dicom_node import SpoolEntry
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow
from service.clock import now_utc

# Faces that are no DICOM objects, by kind.
_FILE_NAMES = {"fhir": "fhir_bundle.json", "oru": "oru_r01.hl7"}


def study_row(session: Session, study_instance_uid: str, **columns: Any) -> StudyRow:
    """A study whose results are on their way, unless `columns` say otherwise."""
    now = now_utc()
    columns = {
        "state": StudyState.DELIVERING,
        "first_received_at_utc": now,
        "last_received_at_utc": now,
        "updated_at_utc": now,
    } | columns
    study = StudyRow(study_instance_uid=study_instance_uid, **columns)
    session.add(study)
    session.flush()
    return study


def draft_row(session: Session, study_id: int, version: int = 1, draft_json: str = "{}") -> DraftRow:
    """A version of the study's Draft, with findings."""
    draft = DraftRow(
        study_id=study_id,
        version=version,
        outcome="findings",
        draft_json=draft_json,
        created_at_utc=now_utc(),
    )
    session.add(draft)
    session.flush()
    return draft


def artefact_row(
    session: Session, draft_id: int, kind: str, entry: SpoolEntry, **columns: Any
) -> ArtefactRow:
    """One built face, whose bytes are the spool's `entry`."""
    artefact = ArtefactRow(
        draft_id=draft_id,
        kind=kind,
        file_name=_FILE_NAMES.get(kind, f"{kind}.dcm"),
        spool_key=entry.key,
        file_sha256=entry.digest,
        size_bytes=entry.size_bytes,
        **columns,
    )
    session.add(artefact)
    session.flush()
    return artefact


def delivery_row(
    session: Session,
    artefact: ArtefactRow,
    destination: str,
    state: DeliveryState = DeliveryState.PENDING,
    **columns: Any,
) -> DeliveryRow:
    """The face on its way to a destination, created and due now unless `columns` say otherwise."""
    columns = {"artefact_id": artefact.id, "due_at_utc": now_utc()} | columns
    return unbuilt_delivery_row(session, artefact.draft_id, artefact.kind, destination, state, **columns)


def unbuilt_delivery_row(
    session: Session, draft_id: int, kind: str, destination: str, state: DeliveryState, **columns: Any
) -> DeliveryRow:
    """A delivery whose face has not been built yet."""
    delivery = DeliveryRow(
        study_id=session.get_one(DraftRow, draft_id).study_id,
        draft_id=draft_id,
        destination=destination,
        kind=kind,
        state=state,
        **{"created_at_utc": now_utc()} | columns,
    )
    session.add(delivery)
    session.flush()
    return delivery
