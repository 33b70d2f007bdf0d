"""Running counts: what the database's triggers counted, against a count of the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from service.book.database import one_at_a_time, reading, writing
from service.book.tables import CustodyRow, DeliveryRow, DraftRow, InstanceRow, ReceiptRow, StudyRow, TallyRow

# Rows of single changes are added up when there are more of them than this.
_ROWS_MAX = 2000

Tallies = Mapping[tuple[str, str], int]
"""Counts by (what is counted, its state); what is not there is 0."""


def tallies(session: Session) -> Tallies:
    """The running counts, in time that does not grow with the book."""
    query = select(TallyRow.counted, TallyRow.state, func.sum(TallyRow.number)).group_by(
        TallyRow.counted, TallyRow.state
    )
    return {(row[0], row[1]): int(row[2]) for row in session.execute(query) if row[2]}


def counted_rows(session: Session) -> Tallies:
    """The same counts from the rows themselves: slow, and what the running ones must equal."""
    found: dict[tuple[str, str], int] = {}
    for counted, column in (
        ("instances", InstanceRow.state),
        ("receipts", ReceiptRow.kind),
        ("studies", StudyRow.state),
        ("deliveries", DeliveryRow.state),
        ("custody", CustodyRow.state),
    ):
        for state, number in session.execute(select(column, func.count()).group_by(column)):
            found[counted, state] = number
    totals: tuple[tuple[str, Any], ...] = (
        ("given", InstanceRow.receipt_count),
        ("answers", DraftRow.answers),
        ("malformed", DraftRow.malformed_answers),
    )
    for counted, total in totals:
        found[counted, ""] = int(session.scalar(select(func.sum(total))) or 0)
    return {key: number for key, number in found.items() if number}


def add_up(engine: Engine) -> int:
    """Replace the rows of many single changes by their sums if there are too many; return how many went.

    The rows that are summed are those the same statement deletes: one that is being written meanwhile stays.
    """
    with reading(engine) as session:
        if (session.scalar(select(func.count()).select_from(TallyRow)) or 0) <= _ROWS_MAX:
            return 0
    with writing(engine) as session:
        one_at_a_time(session, "tallies")
        gone = session.execute(
            delete(TallyRow).returning(TallyRow.counted, TallyRow.state, TallyRow.number)
        ).all()
        sums: dict[tuple[str, str], int] = {}
        for counted, state, number in gone:
            sums[counted, state] = sums.get((counted, state), 0) + number
        rows = [
            {"counted": counted, "state": state, "number": number}
            for (counted, state), number in sums.items()
            if number
        ]
        if rows:
            session.execute(insert(TallyRow), rows)
        return len(gone)
