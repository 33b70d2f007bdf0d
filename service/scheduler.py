"""The scheduler: closes quiet studies and finds again whatever lost its message or its worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from service.book import conversations, outbox, walk
from service.book.clock_steps import LongestAhead, bring_near
from service.book.states import StudyState
from service.book.tallies import add_up
from service.clock import now_utc
from service.queues import Hints
from service.triage import TriageDesk

_log = structlog.get_logger(__name__)


_PURGE_EVERY = timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Looks through the book for rows that should move and do not.

    Attributes
    ----------
    hint_age_s
        A message older than this counts as lost. One too many is harmless: the lease decides who works.
    triage
        Looks at studies by the site's rules before they are queued.
    keep_conversations
        Age from which the texts of conversations are deleted; None keeps them.
    longest
        How far ahead times in the book may lie; what lies further was written before the clock stepped back.
    """

    engine: Engine
    hints: Hints
    hint_age_s: float
    triage: TriageDesk | None = None
    keep_conversations: timedelta | None = None
    longest: LongestAhead | None = None
    _asked: dict[int, datetime] = field(default_factory=dict, init=False, repr=False)
    _purged: list[datetime] = field(default_factory=list, init=False, repr=False)

    def sweep(self) -> int:
        """Look once; return how many hints were given."""
        now = now_utc()
        given = 0
        if self.triage is not None:
            self.triage.look(now)
        for study_id in walk.close_quiet_studies(self.engine, now):
            self.hints.study(study_id, StudyState.QUEUED)
            given += 1
        for study_id, state in walk.forgotten_studies(self.engine, now, self.hint_age_s):
            self.hints.study(study_id, state)
            given += 1
        for delivery_id in outbox.due_deliveries(self.engine, now, self.hint_age_s):
            self.hints.delivery(delivery_id)
            given += 1
        add_up(self.engine)
        self._purge(now)
        if self.longest is not None and (stepped := bring_near(self.engine, self.longest, now=now)):
            _log.warning("clock_stepped_back", rows=stepped)
        return given + self._comparisons(now)

    def _purge(self, now: datetime) -> None:
        """Delete what is too old to be kept, now and then."""
        if self.keep_conversations is None or (self._purged and now - self._purged[-1] < _PURGE_EVERY):
            return
        self._purged[:] = [now]
        count = conversations.purge_conversations(self.engine, now - self.keep_conversations, now=now)
        if count:
            _log.info("conversations_purged", count=count)

    def _comparisons(self, now: datetime) -> int:
        """Ask for the comparisons that are due, each again only when its message must be lost."""
        waiting = walk.instances_to_compare(self.engine)
        for instance_id in set(self._asked) - set(waiting):
            del self._asked[instance_id]
        due = [i for i in waiting if (now - self._asked.get(i, _LONG_AGO)).total_seconds() >= self.hint_age_s]
        for instance_id in due:
            self.hints.comparison(instance_id)
            self._asked[instance_id] = now
        return len(due)

    def run(self, stop: Event, interval_s: float) -> None:
        """Sweep every `interval_s` until `stop`; an unreachable book or broker is waited for."""
        while not stop.wait(interval_s):
            try:
                self.sweep()
            except RadDraftError as error:
                _log.warning("sweep_interrupted", code=error.code)
