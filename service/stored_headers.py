"""Headers of a study as they lie in the spool: what its results name the patient by."""

from __future__ import annotations

from pydicom import Dataset
from sqlalchemy import Engine

from clinical import Draft, RadDraftError
from dicom_node import PosixSpool
from hl7_fhir import Demographics, StudyHeader, Wanted
from imaging import read_header
from reporting import SourceImage
from service.book import drafts, study_images
from service.book.merges import patient_key
from service.book.outbox import DeliveryLease
from service.book.patient_numbers import PatientKey
from service.faces import first_header


def stored_header(engine: Engine, spool: PosixSpool, study_id: int, draft: Draft) -> Dataset:
    """Header of the Draft's first image that can be read: it names the patient, as it did when the faces were built.

    Raises
    ------
    Permanent
        ``no-source-header``.
    """
    found: dict[str, SourceImage] = {}
    key = patient_key(engine, study_id)
    for image in study_images.images_of_study(engine, study_id):
        try:
            header = with_patient(read_header(spool.path(image.spool_key)), key)
        except RadDraftError:
            continue
        found.setdefault(image.sop_instance_uid, SourceImage(header))
    return first_header(draft, found)


def with_patient(header: Dataset, key: PatientKey | None) -> Dataset:
    """The header with the patient's number that stands; name, birth date and sex stay as the image has them.

    The hospital's record of the surviving patient is compared with those, as always, before a report is written.
    """
    if key is None:
        return header
    header.PatientID = key.patient_id
    header.IssuerOfPatientID = key.issuer
    if not key.issuer:
        del header.IssuerOfPatientID
    # It is the issuer of the number before.
    if "IssuerOfPatientIDQualifiersSequence" in header:
        del header.IssuerOfPatientIDQualifiersSequence
    return header


class ExpectedPatients:
    """Whom a delivery must be about.

    Parameters
    ----------
    spool
        Where the images lie whose headers are read.
    """

    def __init__(self, engine: Engine, spool: PosixSpool) -> None:
        self._engine = engine
        self._spool = spool

    def of(self, lease: DeliveryLease) -> Wanted:
        """What the image says of its patient, and whom a person has chosen.

        Raises
        ------
        Permanent
            ``no-source-header``.
        """
        if lease.chosen_patient:
            return Wanted(chosen=lease.chosen_patient)
        newest = drafts.latest_draft(self._engine, lease.study_id)
        if newest is None:
            return Wanted()
        header = stored_header(self._engine, self._spool, lease.study_id, newest[1])
        return Wanted(Demographics.of(StudyHeader.from_dataset(header)))
