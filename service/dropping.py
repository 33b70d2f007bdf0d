"""An operator drops a stray image of a study, with a look at whose the images are that stay."""

from __future__ import annotations

from clinical import RadDraftError
from imaging import read_header
from service.book import dropping, study_images
from service.book.patient_numbers import PatientKey
from service.book.states import StudyState
from service.clock import now_utc
from service.house import House


def drop_image(
    house: House, study_instance_uid: str, sop_instance_uid: str, reason: str, *, actor: str
) -> StudyState:
    """As `service.book.dropping.drop_image`."""
    study_id = house.book.study_row_id(study_instance_uid)
    patients = set()
    for held in study_images.images_of_study(house.book.engine, study_id):
        if held.sop_instance_uid != sop_instance_uid:
            try:
                patients.add(PatientKey.of(read_header(house.spool.path(held.spool_key))))
            except RadDraftError:
                continue  # what cannot be read names nobody
    return dropping.drop_image(
        house.book.engine,
        study_instance_uid,
        sop_instance_uid,
        reason,
        patients=patients,
        actor=actor,
        now=now_utc(),
    )
