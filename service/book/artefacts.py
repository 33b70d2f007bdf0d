"""Built faces: stored once with their digest, read back as the very same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from service.book.database import reading, writing
from service.book.tables import ArtefactRow, DraftRow, StudyRow


def save_artefacts(
    engine: Engine, draft_id: int, rows: Sequence[ArtefactRow]
) -> dict[tuple[str, str], ArtefactRow]:
    """Store rows that are not there yet; return the rows the book keeps, by file name and destination.

    A worker that died after storing some faces left rows behind: those stand, and the newly built twin is dropped
    by the caller, so an artefact is built once for ever.
    """
    with writing(engine) as session:
        held = {
            (row.file_name, row.destination): row
            for row in session.scalars(select(ArtefactRow).where(ArtefactRow.draft_id == draft_id))
        }
        for row in rows:
            if (row.file_name, row.destination) not in held:
                session.add(row)
                held[row.file_name, row.destination] = row
        session.flush()
        session.expunge_all()
        return held


def artefacts_of(engine: Engine, draft_id: int) -> list[ArtefactRow]:
    """Every stored face of a Draft."""
    with reading(engine) as session:
        rows = list(
            session.scalars(
                select(ArtefactRow).where(ArtefactRow.draft_id == draft_id).order_by(ArtefactRow.id)
            )
        )
        session.expunge_all()
        return rows


def artefacts_before(engine: Engine, study_id: int, version: int) -> list[ArtefactRow]:
    """Every stored face of the version before `version`; none where there is no such version."""
    with reading(engine) as session:
        draft_id = session.scalars(
            select(DraftRow.id)
            .where(DraftRow.study_id == study_id, DraftRow.version < version)
            .order_by(DraftRow.version.desc())
            .limit(1)
        ).first()
    return artefacts_of(engine, draft_id) if draft_id is not None else []


def artefact_of_kind(engine: Engine, draft_id: int, kind: str, destination: str = "") -> ArtefactRow | None:
    """The Draft's one face of a kind that speaks of the whole study, made for one destination or for all."""
    rows = artefacts_of(engine, draft_id)
    return next((row for row in rows if (row.kind, row.destination) == (kind, destination)), None)


def latest_artefact(
    engine: Engine, study_instance_uid: str, kind: str, image_sop_instance_uid: str = ""
) -> ArtefactRow | None:
    """Newest face of `kind`; of the first image where none is named."""
    with reading(engine) as session:
        query = (
            select(ArtefactRow)
            .join(DraftRow, DraftRow.id == ArtefactRow.draft_id)
            .join(StudyRow, StudyRow.id == DraftRow.study_id)
            .where(StudyRow.study_instance_uid == study_instance_uid, ArtefactRow.kind == kind)
            .where(ArtefactRow.purged_at_utc.is_(None))
            .order_by(DraftRow.version.desc(), ArtefactRow.id)
        )
        if image_sop_instance_uid:
            query = query.where(ArtefactRow.image_sop_instance_uid == image_sop_instance_uid)
        row = session.scalars(query).first()
        session.expunge_all()
        return row


@dataclass(frozen=True, slots=True)
class UnnamedResult:
    """A DICOM object of which the book does not know series, SOP class and patient."""

    artefact_id: int
    spool_key: str


def unnamed_results(engine: Engine, keys: Sequence[str]) -> list[UnnamedResult]:
    """Those of these spool keys whose objects the book could not name without their files."""
    found: list[UnnamedResult] = []
    with reading(engine) as session:
        for start in range(0, len(keys), 500):
            query = select(ArtefactRow.id, ArtefactRow.spool_key).where(
                ArtefactRow.spool_key.in_(keys[start : start + 500]),
                ArtefactRow.sop_instance_uid != "",
                ArtefactRow.patient_digest == "",
            )
            found.extend(UnnamedResult(*row) for row in session.execute(query))
    return found


def name_artefacts(engine: Engine, names: Mapping[int, tuple[str, str, str]]) -> None:
    """Write down Series Instance UID, SOP Class UID and the patient's digest, by the artefact's row."""
    with writing(engine) as session:
        for row in session.scalars(select(ArtefactRow).where(ArtefactRow.id.in_(list(names)))):
            row.series_instance_uid, row.sop_class_uid, row.patient_digest = names[row.id]
