"""Orders whose reports are signed, remembered for images that come later: as digests, never their numbers or words."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.book.hl7_inbox import REMEMBERED
from service.book.order_digests import order_digest, order_names, orders_meant
from service.book.patient_numbers import PatientKey, numbers_of_patient
from service.book.tables import SignedOrderRow


def remember_order(
    session: Session,
    study_instance_uids: Collection[str],
    accession_numbers: Collection[str],
    patients: Collection[PatientKey],
    status: str,
    *,
    now: datetime,
) -> None:
    """Remember that an order's report is signed, for as long as messages are remembered.

    Parameters
    ----------
    patients
        Every number and issuer under which images may name the order's patient.
    """
    session.execute(delete(SignedOrderRow).where(SignedOrderRow.received_at_utc < now - REMEMBERED))
    names = sorted(order_names(study_instance_uids, accession_numbers, patients))
    order = order_digest(status, *names)
    for name in names:
        session.merge(
            SignedOrderRow(order_digest=order, name_digest=name, status=status, received_at_utc=now)
        )


def signed_status(
    session: Session,
    study_instance_uid: str,
    accession_numbers: Collection[str],
    patients: Collection[PatientKey],
) -> str:
    """Status of the newest signed report that names a study, or its order, and the patient of each of its images.

    Parameters
    ----------
    patients
        What the study's images say of their patient; numbers merged since count as one.

    Returns
    -------
    str
        ``"F"``, ``"C"``, or empty where no such report has come.
    """
    ways = [
        order_names([study_instance_uid], accession_numbers, numbers_of_patient(session, patient))
        for patient in patients
    ]
    rows = session.scalars(
        select(SignedOrderRow)
        .where(SignedOrderRow.name_digest.in_(set[str]().union(*ways)))
        .order_by(SignedOrderRow.received_at_utc.desc())
    ).all()
    found = next(iter(orders_meant(rows, ways)), None)
    return found.status if found is not None else ""
