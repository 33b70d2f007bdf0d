"""Which studies an order or a patient of the hospital's messages means, by the headers that came with the images."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from service.book.patient_numbers import PatientKey, of_standing_image, standing
from service.book.tables import CatalogueRow, KeptPatientRow, RekeyedRow, StudyRow


def studies_of_order(
    session: Session, study_instance_uids: Collection[str], accession_numbers: Collection[str]
) -> list[int]:
    """Row numbers of the studies with one of these UIDs or accession numbers, oldest first."""
    numbers = [number for number in accession_numbers if number]
    named = StudyRow.study_instance_uid.in_(list(study_instance_uids))
    catalogued = select(CatalogueRow.study_id).where(
        CatalogueRow.accession_number.in_(numbers), of_standing_image()
    )
    query = select(StudyRow.id).where(or_(named, StudyRow.id.in_(catalogued))).order_by(StudyRow.id)
    return list(session.scalars(query))


def patients_of_study(session: Session, study_id: int) -> set[PatientKey]:
    """Patient ID with its issuer in the headers of a study's images; more than one where they contradict each other.

    Where the patient's number has changed since, the one that stands.
    """
    query = select(CatalogueRow.patient_id, CatalogueRow.issuer_of_patient_id).where(
        CatalogueRow.study_id == study_id, of_standing_image()
    )
    kept = select(KeptPatientRow.patient_id, KeptPatientRow.issuer).where(KeptPatientRow.study_id == study_id)
    said = {PatientKey(*row) for named in (query, kept) for row in session.execute(named.distinct())}
    rekeyed = session.get(RekeyedRow, study_id)
    if rekeyed is not None:
        said.add(PatientKey(rekeyed.patient_id, rekeyed.issuer))
    return {standing(session, one) for one in said}
