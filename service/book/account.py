"""The balance: what was acknowledged against what is accounted for, and what stands still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session

from service.book.database import reading
from service.book.states import CustodyState, DeliveryState, InstanceState, StudyState
from service.book.stuck import Stuck, stuck_rows
from service.book.tables import ArtefactRow, InstanceRow, ReceiptRow
from service.book.tallies import Tallies, counted_rows, tallies

_EXAMPLES = 20
_KEYS_AT_ONCE = 500


class SpoolView(Protocol):
    """What the account needs of a spool."""

    def keys(self) -> Iterable[str]:
        """Keys of every complete file."""
        ...

    def holds(self, key: str) -> bool:
        """Whether the file is there, without looking at its bytes."""
        ...

    def verify(self, key: str, digest: str) -> bool:
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
    adopted
        Files taken over at a start, for which nobody was answered.
    states
        Distinct objects by state; their receipts add up to `acknowledged` and `adopted`.
    custody
        Delivered results by what their archive says of them, where it is asked.
    stuck
        What stands still or waits for a person, longest first; it does not unbalance the book.
    """

    acknowledged: int
    adopted: int
    objects: int
    states: dict[str, int]
    studies: dict[str, int]
    deliveries: dict[str, int]
    custody: dict[str, int]
    problems: tuple[Problem, ...] = field(default=())
    stuck: tuple[Stuck, ...] = field(default=())

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing and nothing is left over."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The account as the command line and the HTTP API give it."""
        return {
            "acknowledged": self.acknowledged,
            "adopted": self.adopted,
            "objects": self.objects,
            "states": self.states,
            "studies": self.studies,
            "deliveries": self.deliveries,
            "custody": self.custody,
            "balanced": self.balanced,
            "problems": [
                {"code": p.code, "what": p.what, "count": p.count, "row_ids": list(p.row_ids)}
                for p in self.problems
            ],
            "stuck": [{**asdict(s), "since_utc": s.since_utc.isoformat()} for s in self.stuck],
        }


def take_account(
    engine: Engine,
    spool: SpoolView | None = None,
    *,
    deep: bool = False,
    stuck_before: datetime | None = None,
) -> Account:
    """Balance the book: receipts against rows, rows against files.

    The receipts are compared with the objects by running counts, in time that does not grow with the book; where they
    differ, or with `deep`, row by row.

    Parameters
    ----------
    spool
        Where received objects lie; without it the files are not looked at.
    deep
        Also compare every file's digest, and the running counts with the rows.
    stuck_before
        What has not moved since then is named; without it only what waits for a person.
    """
    # Files first: one that arrives while the rows are read is then only "newer than the rows", never "without a row".
    keys = set(spool.keys()) if spool is not None else set()
    with reading(engine) as session:
        counts = tallies(session)
        problems = _row_problems(session, counts, deep=deep)
        if spool is not None:
            problems += _file_problems(session, spool, keys, deep=deep)
        states = {name: counts.get(("instances", name), 0) for name in InstanceState}
        return Account(
            acknowledged=counts.get(("receipts", "received"), 0),
            adopted=counts.get(("receipts", "adopted"), 0),
            objects=sum(number for (counted, _), number in counts.items() if counted == "instances"),
            states={name.value: number for name, number in states.items()},
            studies={name.value: counts.get(("studies", name), 0) for name in StudyState},
            deliveries={name.value: counts.get(("deliveries", name), 0) for name in DeliveryState},
            custody={name.value: counts.get(("custody", name), 0) for name in CustodyState},
            problems=tuple(problems),
            stuck=stuck_rows(session, stuck_before),
        )


def _problem(code: str, what: str, ids: Iterable[int]) -> list[Problem]:
    listed = list(ids)
    return [Problem(code, what, len(listed), tuple(listed[:_EXAMPLES]))] if listed else []


def _row_problems(session: Session, counts: Tallies, *, deep: bool) -> list[Problem]:
    problems = []
    if deep:
        counted = counted_rows(session)
        drifted = {key for key in {*counts, *counted} if counts.get(key, 0) != counted.get(key, 0)}
        if drifted:
            what = (
                f"running counts that are not those of the rows: {', '.join(sorted(map('/'.join, drifted)))}"
            )
            problems.append(Problem("counts-drifted", what, len(drifted)))
    receipts = sum(number for (counted, _), number in counts.items() if counted == "receipts")
    add_up = receipts == counts.get(("given", ""), 0)
    if deep or not add_up:
        problems += _unpaired_receipts(session)
        if not add_up and not problems:
            problems.append(Problem("receipts-missing", "receipts and objects do not add up", 1))
    known = {state.value for state in InstanceState}
    if strange := [state for counted, state in counts if counted == "instances" and state not in known]:
        unknown = session.scalars(select(InstanceRow.id).where(InstanceRow.state.in_(strange)))
        problems += _problem("unknown-state", "instances in no known state", unknown)
    return problems


def _unpaired_receipts(session: Session) -> list[Problem]:
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
    return problems + _problem(
        "receipts-missing", "instances with fewer or more receipts than were given", miscounted
    )


def _file_problems(session: Session, spool: SpoolView, keys: set[str], *, deep: bool) -> list[Problem]:
    unpurged = InstanceRow.purged_at_utc.is_(None)
    held = _held_keys(session, unpurged)
    # A file received after the listing is not missing: look again before saying so.
    missing = set(_row_ids(session, [key for key in held - keys if not spool.holds(key)]))
    problems = _problem("file-missing", "unpurged instances whose spool file is missing", sorted(missing))
    if deep:
        rows = session.execute(
            select(InstanceRow.id, InstanceRow.spool_key, InstanceRow.digest).where(unpurged)
        )
        changed = (r.id for r in rows if r.id not in missing and not spool.verify(r.spool_key, r.digest))
        problems += _problem("file-changed", "instances whose spool file has other bytes", changed)
    stray = keys - held
    # A purge commits before it deletes: what it has not come to yet has a row, which says so.
    stray -= _purged_keys(session, sorted(stray))
    if stray:
        problems.append(Problem("file-without-row", "spool files without a row", len(stray)))
    return problems


def _held_keys(session: Session, unpurged: ColumnElement[bool]) -> set[str]:
    """Keys of every unpurged file.

    As one text: a row each takes most of the account's time. And only what the index of unpurged files holds: the rows
    themselves lie all over a table of millions.
    """
    joined = session.scalar(select(func.aggregate_strings(InstanceRow.spool_key, "\n")).where(unpurged))
    return set(joined.split("\n")) if joined else set()


def _row_ids(session: Session, keys: Sequence[str]) -> list[int]:
    found: list[int] = []
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = InstanceRow.spool_key.in_(keys[start : start + _KEYS_AT_ONCE])
        # Purged meanwhile, it is not missing.
        found.extend(session.scalars(select(InstanceRow.id).where(some, InstanceRow.purged_at_utc.is_(None))))
    return found


def _purged_keys(session: Session, keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        query = select(InstanceRow.spool_key).where(
            InstanceRow.spool_key.in_(keys[start : start + _KEYS_AT_ONCE])
        )
        found.update(session.scalars(query))
    return found


def results_missing(engine: Engine, results: SpoolView) -> list[int]:
    """Artefact rows whose file is missing from the results spool."""
    keys = set(results.keys())
    with reading(engine) as session:
        query = select(ArtefactRow.id, ArtefactRow.spool_key).where(ArtefactRow.purged_at_utc.is_(None))
        return [row.id for row in session.execute(query) if row.spool_key not in keys]
