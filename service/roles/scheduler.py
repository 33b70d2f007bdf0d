"""The scheduler's process."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

from hl7_fhir import AUDIT_SCOPES, FOLLOWING_SCOPES
from service.archive_counting import ArchiveCounting, counter_of
from service.audit_feed import AuditFeed, FactFinder, file_sink, server_sink, syslog_sink
from service.book.clock_steps import LongestAhead
from service.book.completeness import CompletenessRule
from service.delivery_task import LONGEST_RETRY_AFTER_S
from service.doorbell import Doorbell
from service.drift_watch import DriftWatch, drift_terms
from service.fhir_access import fhir_client
from service.house import House, celery_app, open_house, require_shared_broker
from service.intake import quiet_rule
from service.io_worker import ehrs, fhir_naming
from service.queues import Hints
from service.report_subscription import subscription_keepers
from service.report_watch import ReportWatch
from service.retention import RetentionClock, site_retention
from service.role_process import SignsOfLife, die_with_supervisor, stop_on_signals
from service.scheduler import Sweeper
from service.settings import FhirDestination, Settings
from service.triage import TriageDesk


def run_scheduler(settings: Settings) -> None:
    """The sweeper and the tellers of the audit log, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "scheduler")
    stop = stop_on_signals()
    house = open_house(settings)
    signs = SignsOfLife(house.book.engine, "scheduler", lambda: (True, "sweeping"))
    signs.start()
    tellers = started_tellers(house, stop)
    retention = RetentionClock(site_retention(house, "role:scheduler"), settings.retention.interval_s)
    retention.start()
    sweeper = Sweeper(
        house.book.engine,
        Hints(celery_app(settings)),
        hint_age_s=settings.lease.hint_age_s,
        completeness=completeness_rule(settings),
        triage=TriageDesk(house.book.engine, house.spool, settings.rules, settings.study.early_reading),
        longest=longest_ahead(settings),
        keep_conversations=timedelta(days=settings.chat.keep_days),
    )
    sweeper.run(stop, interval_s=settings.lease.sweep_interval_s)
    retention.stop()
    for teller in tellers:
        teller.join()
    signs.stop()


def started_tellers(house: House, stop: Event) -> list[Thread]:
    """Threads beside the sweeper, at work until `stop`: audit log, drift, signed reports, the archive's counts."""
    settings = house.settings
    tellers = [
        Thread(target=feed.run, args=(stop,), name="audit-feed", daemon=True) for feed in audit_feeds(house)
    ]
    drift = DriftWatch(house.book.engine, drift_terms(settings))
    tellers.append(
        Thread(target=drift.run, args=(stop, settings.drift.look_every_s), name="drift", daemon=True)
    )
    tellers += report_watches(house, stop)
    tellers += [
        Thread(target=keeper.run, args=(stop,), name="subscription", daemon=True)
        for keeper in subscription_keepers(house)
    ]
    for teller in tellers:
        teller.start()
    archive = settings.study.archive
    if archive is not None:
        counting = ArchiveCounting(
            house.book.engine,
            counter_of(archive, settings.node.ae_title),
            completeness_rule(settings),
            archive.ask_every_s,
        )
        tellers.append(counting.start(stop))
    return tellers


def report_watches(house: House, stop: Event) -> list[Thread]:
    """A thread for each EHR that is asked which reports were signed; not started yet."""
    threads = []
    for entry in house.settings.destinations:
        if isinstance(entry, FhirDestination) and entry.reports_asked_every_s is not None:
            client = fhir_client(entry, FOLLOWING_SCOPES)
            watch = ReportWatch(house, entry.name, fhir_naming(entry), client.signed_reports)
            bell = Doorbell(house.book.engine, entry.name) if entry.subscription is not None else None
            args = (stop, entry.reports_asked_every_s, bell)
            threads.append(Thread(target=watch.run, args=args, name="signed-reports", daemon=True))
    return threads


def completeness_rule(settings: Settings) -> CompletenessRule:
    """When a study of an installation need wait for no more images."""
    study = settings.study
    counted_settled_s = study.named_settled_s if study.archive is None else study.archive.settled_s
    return CompletenessRule(quiet_rule(settings), study.named_settled_s, counted_settled_s)


def longest_ahead(settings: Settings) -> LongestAhead:
    """How far ahead times in the account book may lie, by the settings that make them."""
    study, delivery = settings.study, settings.delivery
    retry_s = study.retry_delay_s * study.max_attempts
    return LongestAhead(
        lease_s=settings.lease.lease_s,
        study_s=max(study.quiet_period_s, study.max_wait_s, retry_s),
        delivery_s=max(delivery.longest_delay_s, LONGEST_RETRY_AFTER_S),
        circuit_s=max(delivery.circuit_longest_pause_s, settings.lease.lease_s),
    )


def audit_feeds(house: House) -> list[AuditFeed]:
    """The file's reader of the audit log, and the server's where the settings name one; each keeps its own place."""
    settings = house.settings
    reports = ehrs(settings)
    named = next((ehr for ehr in reports if ehr.name == settings.audit.destination), None)
    finder = FactFinder(house, named or next(iter(reports), None))
    path = settings.audit.events_file or settings.data_dir / "audit" / "audit_events.ndjson"
    feeds = [AuditFeed(house.book.engine, "file", finder, file_sink(path))]
    for entry in settings.destinations:
        if isinstance(entry, FhirDestination) and entry.name == settings.audit.destination:
            sink = server_sink(fhir_client(entry, AUDIT_SCOPES))
            feeds.append(AuditFeed(house.book.engine, "server", finder, sink))
    if settings.audit.syslog is not None:
        sink = syslog_sink(settings.audit.syslog)
        feeds.append(AuditFeed(house.book.engine, "syslog", finder, sink))
    return feeds
