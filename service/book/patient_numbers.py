"""Patients' numbers as images have them, and which of them stand for one patient since their patients became one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import combinations
from typing import NamedTuple

from pydicom import Dataset
from sqlalchemy import ColumnElement, Engine, delete, exists, select
from sqlalchemy.orm import Session

from service.book.database import writing
from service.book.states import InstanceState
from service.book.study_images import DROPPED
from service.book.tables import CatalogueRow, InstanceRow, MergedPatientRow, RekeyedRow


class PatientKey(NamedTuple):
    """Patient ID (0010,0020) and its issuer (0010,0021)."""

    patient_id: str
    issuer: str

    @classmethod
    def of(cls, header: Dataset) -> PatientKey:
        """What an image's header says; empty where it says nothing."""
        return cls(*(str(header.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID")))


def contradict(keys: Iterable[PatientKey]) -> bool:
    """Whether these numbers cannot all be of one patient.

    No number names nobody, and a number without issuer may be any issuer's: one department's devices often fill in
    what another's leave out.
    """
    named = {key for key in keys if key.patient_id}
    return any(
        one.patient_id != other.patient_id or (one.issuer and other.issuer and one.issuer != other.issuer)
        for one, other in combinations(named, 2)
    )


def of_standing_image() -> ColumnElement[bool]:
    """Of catalogue rows: those whose header says whose the study is.

    Neither our own results nor an image that an operator has dropped, nor one that stands corrected in another row.
    """
    return exists().where(
        InstanceRow.id == CatalogueRow.instance_id,
        InstanceRow.state != InstanceState.DUPLICATE,
        InstanceRow.reason_code != DROPPED,
    )


def note_merge(session: Session, prior: PatientKey, surviving: PatientKey, now: datetime) -> None:
    """Remember that a number is no longer used and which one stands in its place.

    A number that was given up before and survives now stands again.
    """
    if prior == surviving:
        return
    if prior in _chain(session, surviving):
        session.execute(delete(MergedPatientRow).where(_is(surviving)))
    row = MergedPatientRow(
        prior_patient_id=prior.patient_id,
        prior_issuer=prior.issuer,
        patient_id=surviving.patient_id,
        issuer=surviving.issuer,
        merged_at_utc=now,
    )
    session.merge(row)
    session.flush()


def standing(session: Session, key: PatientKey) -> PatientKey:
    """The number that stands in place of this one now; itself where nobody has merged it."""
    return _chain(session, key)[-1]


def numbers_of_patient(session: Session, key: PatientKey) -> set[PatientKey]:
    """Every number the patient of this one has or had."""
    found: set[PatientKey] = set()
    left = [*_chain(session, key)]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        priors = select(MergedPatientRow.prior_patient_id, MergedPatientRow.prior_issuer).where(
            MergedPatientRow.patient_id == one.patient_id, MergedPatientRow.issuer == one.issuer
        )
        left += [PatientKey(*row) for row in session.execute(priors)]
    return found


def _chain(session: Session, key: PatientKey) -> list[PatientKey]:
    """The number, its successor, that one's successor, and so on; there is no way back in it."""
    chain = [key]
    while (row := session.scalars(select(MergedPatientRow).where(_is(chain[-1]))).first()) is not None:
        after = PatientKey(row.patient_id, row.issuer)
        if after in chain:
            break
        chain.append(after)
    return chain


def _is(key: PatientKey) -> ColumnElement[bool]:
    return (MergedPatientRow.prior_patient_id == key.patient_id) & (
        MergedPatientRow.prior_issuer == key.issuer
    )


def forget_merges(engine: Engine, before: datetime) -> None:
    """Forget merges that are older, but those of studies which have the number that stands."""
    used = exists().where(
        RekeyedRow.patient_id == MergedPatientRow.patient_id, RekeyedRow.issuer == MergedPatientRow.issuer
    )
    with writing(engine) as session:
        session.execute(delete(MergedPatientRow).where(MergedPatientRow.merged_at_utc < before, ~used))
