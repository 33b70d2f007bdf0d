"""Prometheus metrics, read from the account book at every scrape: counts and ages, never a patient's data."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.book import Book
from service.book.final_reports import agreement
from service.book.hl7_inbox import message_counts
from service.book.observations import drift_alarms
from service.book.refusals import refusals
from service.http.worker_metrics import WorkerCollector

_HELP = {
    "instances": "Received objects by state",
    "studies": "Studies by state",
    "deliveries": "Deliveries by state",
}


class BookCollector(Collector):
    """The account book as gauges."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def collect(self) -> Iterator[Metric]:
        """Metrics of this moment."""
        counts = self._book.counts()
        for name, text in _HELP.items():
            family = GaugeMetricFamily(f"raddraft_{name}", text, labels=["state"])
            for state, count in counts[name].items():
                family.add_metric([state], count)
            yield family
        answers = CounterMetricFamily("raddraft_answers", "Answers of the model in all Drafts")
        answers.add_metric([], counts["answers"]["all"])
        yield answers
        malformed = CounterMetricFamily(
            "raddraft_malformed_answers", "Answers that did not have the form their question asks for"
        )
        malformed.add_metric([], counts["answers"]["malformed"])
        yield malformed
        age = GaugeMetricFamily(
            "raddraft_oldest_unfinished_age_seconds",
            "Age of the study that has waited longest without an end",
        )
        age.add_metric([], counts["oldest_unfinished_age_s"])
        yield age
        roles = GaugeMetricFamily("raddraft_role_ready", "Roles alive: 1 ready, 0 not", labels=["role"])
        for role in self._book.roles():
            roles.add_metric([role.name], float(role.ready))
        yield roles
        drift = GaugeMetricFamily(
            "raddraft_drift_alarm",
            "1 where images of a device, or what is read of them, are not what they were",
            labels=["device", "quantity"],
        )
        for alarm in drift_alarms(self._book.engine):
            drift.add_metric([str(alarm.source_id), alarm.quantity], 1)
        yield drift
        refused = CounterMetricFamily(
            "raddraft_refused_calls", "Calls the listener refused, by reason", labels=["reason"]
        )
        for reason, number in refusals(self._book.engine).items():
            refused.add_metric([reason], number)
        yield refused
        yield from _hospital_messages(self._book)


def _hospital_messages(book: Book) -> Iterator[Metric]:
    """What HL7 v2 messages brought, and how drafts compare with the reports that people signed."""
    messages = CounterMetricFamily(
        "raddraft_hl7_messages", "Messages of the HL7 listener, by what became of them", labels=["outcome"]
    )
    for outcome, number in message_counts(book.engine).items():
        messages.add_metric([outcome], number)
    yield messages
    # A corrected report moves a study from one verdict to another: gauges, not counters.
    agreed = GaugeMetricFamily(
        "raddraft_agreement", "Studies by label and verdict of signed report", labels=["label", "verdict"]
    )
    for label, found in agreement(book.engine).items():
        for verdict, number in found.items():
            agreed.add_metric([label, verdict], number)
    yield agreed


def metrics_text(book: Book) -> bytes:
    """Metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(BookCollector(book))
    registry.register(WorkerCollector(book))
    return generate_latest(registry)
