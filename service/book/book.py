"""The account book as the command line, the HTTP API and the listings see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from clinical import Permanent
from service.book import audit, queueing, sending_again
from service.book.account import Account, SpoolView, take_account
from service.book.artefacts import latest_artefact
from service.book.database import open_engine, reading, writing
from service.book.queries import (
    RoleStatus,
    StudyCursor,
    StudyDetail,
    StudySummary,
    list_studies,
    live_roles,
    oldest_unfinished,
    study_detail,
)
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.tables import ArtefactRow, BookFact, StudyRow
from service.book.tallies import tallies

ROLE_MAX_AGE_S = 30.0
# Nothing that is well stands still for as long as this.
STUCK_AFTER_S = 3600.0


class Book:
    """Read access to the account book, and the operator's two commands that change it.

    Parameters
    ----------
    engine
        From `open_engine`, made in this process.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def studies(
        self,
        *,
        state: str | None = None,
        limit: int = 100,
        offset: int = 0,
        after: StudyCursor | None = None,
    ) -> list[StudySummary]:
        """Studies, the most recently changed first; all states unless one is named."""
        return list_studies(self.engine, state=state, limit=limit, offset=offset, after=after)

    def study(self, study_instance_uid: str) -> StudyDetail | None:
        """One study with its objects, deliveries and newest Draft."""
        return study_detail(self.engine, study_instance_uid)

    def study_row_id(self, study_instance_uid: str) -> int:
        """Row number of a study.

        Raises
        ------
        Permanent
            ``no-such-study``.
        """
        with reading(self.engine) as session:
            query = select(StudyRow.id).where(StudyRow.study_instance_uid == study_instance_uid)
            row_id = session.scalar(query)
        if row_id is None:
            raise Permanent("no-such-study", "the account book has no such study")
        return row_id

    def artefact(
        self, study_instance_uid: str, kind: str, image_sop_instance_uid: str = ""
    ) -> ArtefactRow | None:
        """Newest stored face of a kind (``sr``, ``pr``, ``sc``, ``overlay`` ...): its spool key and digest."""
        return latest_artefact(self.engine, study_instance_uid, kind, image_sop_instance_uid)

    def account(
        self, spool: SpoolView | None = None, *, deep: bool = False, stuck_after_s: float = STUCK_AFTER_S
    ) -> Account:
        """Balance of receipts, rows and (with a spool) files, and what has not moved for `stuck_after_s`."""
        before = datetime.now(UTC) - timedelta(seconds=stuck_after_s)
        return take_account(self.engine, spool, deep=deep, stuck_before=before)

    def retry(self, study_instance_uid: str | None = None, *, actor: str) -> int:
        """Put back failed studies and deliveries without success, of one study or of all; return how many."""
        now = datetime.now(UTC)
        study_id = self.study_row_id(study_instance_uid) if study_instance_uid is not None else None
        audit.record(
            self.engine, audit.AuditEvent(audit.Action.RETRY, actor, audit.Subject.STUDY, study_id), now=now
        )
        return queueing.requeue(self.engine, study_instance_uid, now=now) + sending_again.retry_undelivered(
            self.engine, study_instance_uid, now=now
        )

    def roles(self) -> list[RoleStatus]:
        """Roles alive at this moment."""
        return live_roles(self.engine, now=datetime.now(UTC), max_age_s=ROLE_MAX_AGE_S)

    def counts(self) -> dict[str, Any]:
        """Counts by state for metrics: ``{"instances": {...}, "studies": {...}, "deliveries": {...}, ...}``."""
        oldest = oldest_unfinished(self.engine)
        now = datetime.now(UTC)
        with reading(self.engine) as session:
            found = tallies(session)
        return {
            "instances": {s.value: found.get(("instances", s), 0) for s in InstanceState},
            "studies": {s.value: found.get(("studies", s), 0) for s in StudyState},
            "deliveries": {s.value: found.get(("deliveries", s), 0) for s in DeliveryState},
            "answers": {
                "all": found.get(("answers", ""), 0),
                "malformed": found.get(("malformed", ""), 0),
            },
            "oldest_unfinished_age_s": (now - oldest).total_seconds() if oldest else 0.0,
        }

    def claim_spool(self, spool_identity: str) -> None:
        """Bind this book to its spool at the first start, and check the binding ever after.

        Raises
        ------
        Permanent
            ``wrong-spool`` if the book belongs to another spool: this role would miss every file.
        """
        with writing(self.engine) as session:
            fact = session.get(BookFact, "spool_identity")
            if fact is None:
                session.add(BookFact(name="spool_identity", value=spool_identity))
                return
            if fact.value != spool_identity:
                raise Permanent(
                    "wrong-spool",
                    "the account book belongs to another spool; check data_dir and database.url",
                )


def open_book(url: str) -> Book:
    """Open the account book at a SQLAlchemy URL; the tables must have been migrated."""
    return Book(open_engine(url))
