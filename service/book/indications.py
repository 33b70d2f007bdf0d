"""Why images were ordered, for studies that are told later: the order's words, its numbers as digests."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Delete, Engine, Select, delete, select
from sqlalchemy.orm import Session

from service.book.database import one_at_a_time, reading, writing
from service.book.hl7_inbox import REMEMBERED
from service.book.order_digests import order_digest, order_names, orders_meant
from service.book.patient_numbers import PatientKey, numbers_of_patient
from service.book.tables import IndicationRow


def keep_indication(
    session: Session,
    accession_numbers: Collection[str],
    study_instance_uids: Collection[str],
    patients: Collection[PatientKey],
    indication: str,
    *,
    now: datetime,
) -> None:
    """Keep an order's indication in place of what was kept of it before, for as long as messages are remembered.

    Parameters
    ----------
    patients
        Every number and issuer under which images may name the order's patient.
    """
    one_at_a_time(session, "indications")
    session.execute(_outlived(now))
    drop_indication(session, accession_numbers, study_instance_uids, patients)
    names = sorted(order_names(study_instance_uids, accession_numbers, patients))
    order = order_digest(*names)
    for name in names:
        session.add(
            IndicationRow(order_digest=order, name_digest=name, indication=indication, received_at_utc=now)
        )
    session.flush()


def keep_without_indication(
    session: Session,
    accession_numbers: Collection[str],
    study_instance_uids: Collection[str],
    patients: Collection[PatientKey],
    *,
    now: datetime,
) -> None:
    """Keep that an order names these studies, where nothing is kept of it: they are not another order's alone."""
    if not study_instance_uids:
        return
    one_at_a_time(session, "indications")
    known = _orders_known(accession_numbers, study_instance_uids, patients)
    if session.scalars(known.where(IndicationRow.received_at_utc >= now - REMEMBERED)).first() is None:
        keep_indication(session, accession_numbers, study_instance_uids, patients, "", now=now)


def drop_indication(
    session: Session,
    accession_numbers: Collection[str],
    study_instance_uids: Collection[str],
    patients: Collection[PatientKey],
) -> None:
    """Forget what is kept of an order, under every name it has.

    An order is known by its accession number, and by a study only where it has none: several orders may share a study.
    """
    known = session.scalars(_orders_known(accession_numbers, study_instance_uids, patients)).all()
    session.execute(delete(IndicationRow).where(IndicationRow.order_digest.in_(known)))


def indication_of(
    engine: Engine,
    study_instance_uid: str,
    accession_numbers: Collection[str],
    patients: Collection[PatientKey],
    *,
    now: datetime,
) -> str:
    """Why a study was ordered: the words of the order whose accession number and patient are the study's.

    Where the images have no accession number, the Study Instance UID takes its place, if one order alone names it.

    Parameters
    ----------
    accession_numbers, patients
        What the study's images say of their order and patient; numbers merged since count as one. Images of several
        orders have no indication: which one's words hold for the study nobody knows.

    Returns
    -------
    str
        Empty where no such order has come within the time that messages are remembered.
    """
    if len(accession_numbers) > 1:
        return ""
    uids = () if accession_numbers else (study_instance_uid,)
    with reading(engine) as session:
        ways = [order_names(uids, accession_numbers, numbers_of_patient(session, one)) for one in patients]
        rows = session.scalars(
            select(IndicationRow)
            .where(IndicationRow.name_digest.in_(set[str]().union(*ways)))
            .where(IndicationRow.received_at_utc >= now - REMEMBERED)
            .order_by(IndicationRow.received_at_utc.desc())
        ).all()
        found = orders_meant(rows, ways)
        if not found or (uids and len(found) > 1):
            return ""
        return found[0].indication


def forget_indications(engine: Engine, now: datetime) -> None:
    """Delete what is kept longer than messages are remembered."""
    with writing(engine) as session:
        session.execute(_outlived(now))


def _orders_known(
    accession_numbers: Collection[str],
    study_instance_uids: Collection[str],
    patients: Collection[PatientKey],
) -> Select[str]:
    names = order_names(() if accession_numbers else study_instance_uids, accession_numbers, patients)
    return select(IndicationRow.order_digest).where(IndicationRow.name_digest.in_(names)).distinct()


def _outlived(now: datetime) -> Delete:
    return delete(IndicationRow).where(IndicationRow.received_at_utc < now - REMEMBERED)
