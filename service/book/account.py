"""The balance: what was acknowledged against what is accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.book.database import reading
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, InstanceRow, ReceiptRow, StudyRow

_EXAMPLES = 20


class SpoolView(Protocol):
    """What the account needs of a spool."""

    def keys(self) -> Iterable[str]:
        """Keys of every complete file."""
        ...

    def verify(self, key: str, file_sha256: str) -> bool:
        """Whether the file is there with these bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which the book does not balance, with row ids to look at."""

    code: str
    what: str
    count: int
    row_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """The account at one moment.

    Attributes
    ----------
    acknowledged
        Success responses given.
    states
        Distinct objects by state; their receipts add up to `acknowledged`.
    """

    acknowledged: int
    objects: int
    states: dict[str, int]
    studies: dict[str, int]
    deliveries: dict[str, int]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing and nothing is left over."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The account as the command line and the HTTP API give it."""
        return {
            "acknowledged": self.acknowledged,
            "objects": self.objects,
            "states": self.states,
            "studies": self.studies,
            "deliveries": self.deliveries,
            "balanced": self.balanced,
            "problems": [
                {"code": p.code, "what": p.what, "count": p.count, "row_ids": list(p.row_ids)}
                for p in self.problems
            ],
        }


def take_account(engine: Engine, spool: SpoolView | None = None, *, deep: bool = False) -> Account:
    """Balance the book: receipts against rows, rows against files.

    Parameters
    ----------
    spool
        Where received objects lie; without it the files are not looked at.
    deep
        Also compare every file's SHA-256.
    """
    # Files first: one that arrives while the rows are read is then only "newer than the rows", never "without a row".
    keys = set(spool.keys()) if spool is not None else set()
    with reading(engine) as session:
        problems = _row_problems(session)
        if spool is not None:
            problems += _file_problems(session, spool, keys, deep=deep)
        return Account(
            acknowledged=session.scalar(select(func.count()).select_from(ReceiptRow)) or 0,
            objects=session.scalar(select(func.count()).select_from(InstanceRow)) or 0,
            states=_counts(session, InstanceRow, [s.value for s in InstanceState]),
            studies=_counts(session, StudyRow, [s.value for s in StudyState]),
            deliveries=_counts(session, DeliveryRow, [s.value for s in DeliveryState]),
            problems=tuple(problems),
        )


def _counts(session: Session, table: Any, names: list[str]) -> dict[str, int]:
    rows = session.execute(select(table.state, func.count()).group_by(table.state)).all()
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return {name: found.get(name, 0) for name in names}


def _problem(code: str, what: str, ids: Iterable[int]) -> list[Problem]:
    listed = list(ids)
    return [Problem(code, what, len(listed), tuple(listed[:_EXAMPLES]))] if listed else []


def _row_problems(session: Session) -> list[Problem]:
    lonely = session.scalars(
        select(ReceiptRow.id)
        .outerjoin(InstanceRow, InstanceRow.id == ReceiptRow.instance_id)
        .where(InstanceRow.id.is_(None))
    )
    problems = _problem("receipt-without-instance", "receipts whose instance row is missing", lonely)
    given = (
        select(ReceiptRow.instance_id, func.count().label("n")).group_by(ReceiptRow.instance_id).subquery()
    )
    miscounted = session.scalars(
        select(InstanceRow.id)
        .outerjoin(given, given.c.instance_id == InstanceRow.id)
        .where(func.coalesce(given.c.n, 0) != InstanceRow.receipt_count)
    )
    problems += _problem(
        "receipts-missing", "instances with fewer or more receipts than were given", miscounted
    )
    unknown = session.scalars(
        select(InstanceRow.id).where(InstanceRow.state.not_in([s.value for s in InstanceState]))
    )
    return problems + _problem("unknown-state", "instances in no known state", unknown)


def _file_problems(session: Session, spool: SpoolView, keys: set[str], *, deep: bool) -> list[Problem]:
    rows = session.execute(
        select(InstanceRow.id, InstanceRow.spool_key, InstanceRow.file_sha256).where(
            InstanceRow.purged_at_utc.is_(None)
        )
    ).all()
    # A file received after the listing is not missing: look again before saying so.
    missing = [
        row for row in rows if row.spool_key not in keys and not spool.verify(row.spool_key, row.file_sha256)
    ]
    problems = _problem(
        "file-missing", "unpurged instances whose spool file is missing", (row.id for row in missing)
    )
    if deep:
        gone = {row.id for row in missing}
        changed = (r.id for r in rows if r.id not in gone and not spool.verify(r.spool_key, r.file_sha256))
        problems += _problem("file-changed", "instances whose spool file has other bytes", changed)
    held = {row.spool_key for row in rows}
    stray = [key for key in keys if key not in held]
    if stray:
        problems.append(Problem("file-without-row", "spool files without a row", len(stray)))
    return problems


def results_missing(engine: Engine, results: SpoolView) -> list[int]:
    """Artefact rows whose file is missing from the results spool."""
    keys = set(results.keys())
    with reading(engine) as session:
        rows = session.execute(select(ArtefactRow.id, ArtefactRow.spool_key)).all()
        return [row.id for row in rows if row.spool_key not in keys]
