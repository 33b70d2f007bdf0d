"""The last look before a study is told: whose it is, and whether a person has signed its report meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from clinical import Quarantine, Transient
from service.book.database import writing
from service.book.final_reports import close_with_report
from service.book.merges import key_of, rekey_study
from service.book.patient_numbers import PatientKey, contradict, standing
from service.book.signed_orders import signed_status
from service.book.tables import StudyRow
from service.book.walk import Lease, held_row

SEVERAL_PATIENTS = (
    "several-patients",
    "its images name several patients: nothing is told of it until they are sent again with one patient's number",
)


@dataclass(frozen=True, slots=True)
class Named:
    """What a study's images say of their patient and order."""

    patients: frozenset[PatientKey]
    accession_numbers: frozenset[str]

    @classmethod
    def by(cls, headers: Iterable[Dataset]) -> Named:
        """What these headers say."""
        listed = list(headers)
        numbers = (str(header.get("AccessionNumber") or "").strip() for header in listed)
        return cls(frozenset(map(PatientKey.of, listed)), frozenset(filter(None, numbers)))


def settle_study(engine: Engine, lease: Lease, named: Named, *, now: datetime) -> None:
    """Hold a leased study's images against what the hospital has said of their patient and order before.

    Images with a number that is no longer used get the one that stands. A study whose report was signed before its
    images came is closed: what is told of it does not leave.

    Raises
    ------
    Quarantine
        ``several-patients`` where the images contradict each other, or the number the study has since a merge.
    Transient
        ``stale-lease`` if the study has to be told anew, with another number.
    """
    with writing(engine) as session:
        study = held_row(session, lease)
        _one_patient(session, study, named, now)
        moved = study.fence != lease.fence
        if not moved and study.signed_at_utc is None:
            status = signed_status(session, study.study_instance_uid, named.accession_numbers, named.patients)
            if status:
                close_with_report(
                    session, study.id, status, lambda draft: {}, actor=f"role:{study.lease_owner}", now=now
                )
    if moved:
        raise Transient("stale-lease", "the patient's number has changed: the study is told anew")


def _one_patient(session: Session, study: StudyRow, named: Named, now: datetime) -> None:
    key = key_of(session, study.id)
    said = {one for one in named.patients if one.patient_id} | ({key} if key is not None else set())
    stands = {one: standing(session, one) for one in said}
    if contradict(stands.values()):
        raise Quarantine(*SEVERAL_PATIENTS)
    # A number that has changed since, of the study or of images that came with an old one.
    changed = sorted(stands[one] for one in ([key] if key is not None else said) if stands[one] != one)
    if changed:
        rekey_study(session, study.id, changed[-1], actor=f"role:{study.lease_owner}", now=now)
