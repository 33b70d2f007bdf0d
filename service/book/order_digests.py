"""Orders that messages told of, kept without their numbers: a digest for each way images may name one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from service.book.patient_numbers import PatientKey
from service.book.tables import IndicationRow, SignedOrderRow

_Row = TypeVar("_Row", IndicationRow, SignedOrderRow)


def order_names(uids: Iterable[str], accessions: Iterable[str], patients: Iterable[PatientKey]) -> set[str]:
    """Every way images may name an order of these patients, as a digest each."""
    names = [("study", uid) for uid in uids] + [("accession", number) for number in accessions]
    return {
        hashlib.sha256("\0".join((kind, name, patient.patient_id, patient.issuer)).encode()).hexdigest()
        for kind, name in names
        for patient in patients
        if name and patient.patient_id
    }


def order_digest(*parts: str) -> str:
    """One digest of everything that was said of an order."""
    return hashlib.sha256("\n".join(parts).encode("ascii")).hexdigest()


def orders_meant(rows: Sequence[_Row], ways: Sequence[set[str]]) -> list[_Row]:
    """The first row of each order that every one of a study's patients names in one of their ways, as `rows` lie.

    Parameters
    ----------
    rows
        One for each name of an order, the newest order first.
    ways
        For each patient the study's images speak of, the digests under which an order of theirs may be kept.
    """
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row.order_digest, set()).add(row.name_digest)
    meant = {order for order, names in named.items() if all(way & names for way in ways)}
    first: dict[str, _Row] = {}
    for row in rows:
        if row.order_digest in meant:
            first.setdefault(row.order_digest, row)
    return list(first.values())
