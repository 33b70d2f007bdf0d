"""The scheduler: closes quiet studies and finds again whatever lost its message or its worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from service.book import conversations, outbox, queueing, same_uid
from service.book.clock_steps import LongestAhead, bring_near
from service.book.completeness import CompletenessRule, weigh_notices
from service.book.states import StudyState
from service.book.tallies import add_up
from service.clock import now_utc
from service.queues import GPU_QUEUE, IO_QUEUE, Hints
from service.triage import TriageDesk

_log = structlog.get_logger(__name__)


# A row whose message is old may have lost it, or it waits in a long queue. Where so many messages wait, the workers
# have enough to do, and one more for the same row would only make the queue longer.
_ENOUGH_WAITING = 200
_PURGE_EVERY = timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Looks through the book for rows that should move and do not.

    Attributes
    ----------
    hint_age_s
        A message older than this counts as lost. One too many is harmless: the lease decides who works.
    completeness
        By which notices of performed steps and availability say when arriving studies are due.
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
    completeness: CompletenessRule | None = None
    triage: TriageDesk | None = None
    keep_conversations: timedelta | None = None
    longest: LongestAhead | None = None
    _asked: dict[int, datetime] = field(default_factory=dict, init=False, repr=False)
    _purged: list[datetime] = field(default_factory=list, init=False, repr=False)

    def sweep(self) -> int:
        """Look once; return how many hints were given.

        Raises
        ------
        Transient
            `broker-away`: the book is looked after by then, and the next sweep gives the hints.
        """
        now = now_utc()
        if self.completeness is not None:
            weigh_notices(self.engine, self.completeness)
        if self.triage is not None:
            self.triage.look(now)
        closed = queueing.close_quiet_studies(self.engine, now)
        add_up(self.engine)
        self._purge(now)
        if self.longest is not None and (stepped := bring_near(self.engine, self.longest, now=now)):
            _log.warning("clock_stepped_back", rows=stepped)
        for study_id in closed:
            self.hints.study(study_id, StudyState.QUEUED)
        return len(closed) + self._remind_readers(now) + self._remind_tellers(now)

    def _remind_readers(self, now: datetime) -> int:
        """Hint again at the studies whose reading was forgotten, as far as the queue has room."""
        room = self._room(GPU_QUEUE)
        forgotten = queueing.forgotten_studies(self.engine, now, self.hint_age_s, StudyState.READING, room)
        for study_id in forgotten:
            self.hints.study(study_id, StudyState.READING)
        return len(forgotten)

    def _remind_tellers(self, now: datetime) -> int:
        """Hint again at studies to be told, deliveries and comparisons, as far as the queue has room."""
        room = self._room(IO_QUEUE)
        forgotten = queueing.forgotten_studies(self.engine, now, self.hint_age_s, StudyState.TELLING, room)
        for study_id in forgotten:
            self.hints.study(study_id, StudyState.TELLING)
        due = outbox.due_deliveries(self.engine, now, self.hint_age_s, room)
        for delivery_id in due:
            self.hints.delivery(delivery_id)
        return len(forgotten) + len(due) + self._comparisons(now, room)

    def _room(self, queue: str) -> int:
        return max(0, _ENOUGH_WAITING - self.hints.waiting(queue))

    def _purge(self, now: datetime) -> None:
        """Delete what is too old to be kept, now and then."""
        if self.keep_conversations is None or (self._purged and now - self._purged[-1] < _PURGE_EVERY):
            return
        self._purged[:] = [now]
        count = conversations.purge_conversations(self.engine, now - self.keep_conversations, now=now)
        if count:
            _log.info("conversations_purged", count=count)

    def _comparisons(self, now: datetime, room: int) -> int:
        """Ask for the comparisons that are due, each again only when its message must be lost."""
        waiting = same_uid.instances_to_compare(self.engine)
        for instance_id in set(self._asked) - set(waiting):
            del self._asked[instance_id]
        due = [i for i in waiting if (now - self._asked.get(i, _LONG_AGO)).total_seconds() >= self.hint_age_s]
        for instance_id in due[:room]:
            self.hints.comparison(instance_id)
            self._asked[instance_id] = now
        return min(len(due), room)

    def run(self, stop: Event, interval_s: float) -> None:
        """Sweep every `interval_s` until `stop`; an unreachable book or broker is waited for."""
        while not stop.wait(interval_s):
            try:
                self.sweep()
            except RadDraftError as error:
                _log.warning("sweep_interrupted", code=error.code)
