"""A signed report of the hospital, however it came, and the studies it closes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from clinical import Draft
from service.agreement import compare
from service.book.final_reports import close_with_report
from service.book.orders import patients_of_study, studies_of_order
from service.book.patient_numbers import PatientKey, standing
from service.book.signed_orders import remember_order


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """One order whose report a person has signed.

    Attributes
    ----------
    patients
        Every number and issuer under which images may name its patient.
    status
        ``"F"`` final, ``"C"`` corrected since.
    text
        The report's words.
    """

    study_instance_uids: tuple[str, ...]
    accession_numbers: tuple[str, ...]
    patients: frozenset[PatientKey]
    status: str
    text: str = field(repr=False)


def close_order(session: Session, order: SignedOrder, *, actor: str, now: datetime) -> str:
    """Close the studies of an order whose patient is the report's, and remember it for images that come later.

    Returns
    -------
    str
        ``closed``, ``patient-mismatch`` or ``no-such-study``.
    """
    remember_order(
        session,
        order.study_instance_uids,
        order.accession_numbers,
        order.patients,
        order.status,
        now=now,
    )
    found = studies_of_order(session, order.study_instance_uids, order.accession_numbers)
    ours = [study_id for study_id in found if _same_patient(session, study_id, order.patients)]

    def verdicts(draft: Draft) -> Mapping[str, str]:
        return compare(draft, order.text)

    for study_id in ours:
        close_with_report(session, study_id, order.status, verdicts, actor=actor, now=now)
    if ours:
        return "closed"
    return "patient-mismatch" if found else "no-such-study"


def _same_patient(session: Session, study_id: int, named: frozenset[PatientKey]) -> bool:
    """Whether every image of the study is of the report's patient, number and issuer, as they stand now."""
    known = named | {standing(session, one) for one in named}
    patients = patients_of_study(session, study_id)
    return bool(patients) and patients <= known
