"""Retention at work: rows are marked first, files deleted after, and a purge that was cut off is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Thread

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from dicom_node import Spool
from service.book.confirmation import KeptBack, ask_about_kept, kept_back
from service.book.indications import forget_indications
from service.book.notices import forget_notices
from service.book.patient_numbers import forget_merges
from service.book.purge import RetentionRule, look_at, purge_study, purged_among, studies_to_purge
from service.clock import now_utc
from service.correspondents import confirming
from service.house import House
from service.naming_results import name_results

_log = structlog.get_logger(__name__)
_STUDIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What was purged, or would be.

    Attributes
    ----------
    kept_back
        Results whose time is over, and which wait for their archive to confirm that it keeps them.
    """

    studies: int = 0
    received_files: int = 0
    result_files: int = 0
    drafts: int = 0
    size_bytes: int = 0
    kept_back: tuple[KeptBack, ...] = ()


@dataclass(frozen=True, slots=True)
class Retention:
    """Purges ended studies by a rule.

    Attributes
    ----------
    spool, results
        Received objects, and built results.
    actor
        How the audit log calls whoever purges.
    """

    engine: Engine
    spool: Spool
    results: Spool
    rule: RetentionRule
    actor: str

    def preview(self, now: datetime) -> PurgeReport:
        """What `purge` would take; nothing is changed."""
        return replace(self._walk(now, dry=True), kept_back=self._kept_back(now))

    def purge(self, now: datetime) -> PurgeReport:
        """Purge what has had its time; finish what an earlier purge was cut off at.

        Archives are asked about results that nobody has asked them about yet, so that a later purge may take them.
        """
        forget_indications(self.engine, now)
        forget_notices(self.engine, now)
        if self.rule.keeps_everything:
            return PurgeReport()
        if (before := self.rule.results_before(now)) is not None:
            forget_merges(self.engine, before)
        for key in purged_among(self.engine, list(self.spool.keys()), results=False):
            self.spool.delete(key)
        self._delete_results(purged_among(self.engine, list(self.results.keys()), results=True))
        report = self._walk(now, dry=False)
        if report.studies:
            _log.info("purged", studies=report.studies, size_bytes=report.size_bytes)
        kept = self._kept_back(now)
        if kept:
            _log.warning("results_kept_back", results=sum(each.results for each in kept))
            before = self.rule.results_before(now) or now
            ask_about_kept(self.engine, self.rule.confirmed_by, ended_before=before, now=now)
        return replace(report, kept_back=kept)

    def _kept_back(self, now: datetime) -> tuple[KeptBack, ...]:
        before = self.rule.results_before(now)
        if before is None or not self.rule.confirmed_by:
            return ()
        return tuple(kept_back(self.engine, self.rule.confirmed_by, ended_before=before))

    def _walk(self, now: datetime, *, dry: bool) -> PurgeReport:
        report, last = PurgeReport(), 0
        while ids := studies_to_purge(self.engine, self.rule, now=now, after=last, limit=_STUDIES_AT_ONCE):
            for study_id in ids:
                if dry:
                    taken = look_at(self.engine, study_id, self.rule, now=now)
                else:
                    taken = purge_study(self.engine, study_id, self.rule, actor=self.actor, now=now)
                    for key in taken.received_keys:
                        self.spool.delete(key)
                    self._delete_results(taken.result_keys)
                if not taken.is_empty:
                    report = PurgeReport(
                        report.studies + 1,
                        report.received_files + len(taken.received_keys),
                        report.result_files + len(taken.result_keys),
                        report.drafts + taken.drafts,
                        report.size_bytes + taken.size_bytes,
                    )
            last = ids[-1]
        return report

    def _delete_results(self, keys: Sequence[str]) -> None:
        """Before its file goes, the book names each object: a later version may have to withdraw it."""
        name_results(self.engine, self.results, keys)
        for key in keys:
            self.results.delete(key)


def site_retention(house: House, actor: str) -> Retention:
    """Retention of an installation, by its settings."""
    settings = house.settings.retention
    asked = confirming(house.settings)
    rule = RetentionRule(settings.received_days, settings.results_days, confirmed_by=asked)
    return Retention(house.book.engine, house.spool, house.results, rule, actor)


class RetentionClock:
    """A thread that purges every `interval_s`, the first time soon after the start."""

    def __init__(self, retention: Retention, interval_s: float) -> None:
        self._retention = retention
        self._interval_s = interval_s
        self._stop = Event()
        self._thread = Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let the purge under way be the last; a study it has not come to keeps everything."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            try:
                self._retention.purge(now_utc())
            except RadDraftError as error:
                _log.warning("purge_interrupted", code=error.code)
            if self._stop.wait(self._interval_s):
                return
