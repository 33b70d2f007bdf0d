"""Metrics of the reading workers: other processes, whose figures come with their signs of life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.book import Book

_GAUGES = {
    "in_flight": ("raddraft_readings_in_flight", "Readings and questions the engine serves at this moment"),
    "queued": ("raddraft_readings_queued", "Readings and questions that wait for the engine"),
    "resident_bytes": ("raddraft_worker_resident_bytes", "Memory of the worker's process"),
    "cache_bytes": ("raddraft_model_cache_bytes", "Most memory the keys and values of answers may take"),
}


class WorkerCollector(Collector):
    """Figures of every live worker that reads."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def collect(self) -> Iterator[Metric]:
        """Metrics of this moment."""
        workers = {role.name: role.figures for role in self._book.roles() if role.figures}
        for figure, (name, text) in _GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=["role"])
            for role, figures in workers.items():
                family.add_metric([role], float(figures.get(figure, 0)))
            yield family
        yield from _models(workers)
        yield from _trials(workers)
        yield _device(workers)


def _models(workers: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ["role", "model", "version", "precision", "weights", "engine"]
    model = GaugeMetricFamily(
        "raddraft_model_info", "The model each worker reads with; always 1", labels=labels
    )
    providers = GaugeMetricFamily(
        "raddraft_execution_provider_info",
        "What really runs each graph of the model; always 1",
        labels=["role", "graph", "provider"],
    )
    refused = GaugeMetricFamily(
        "raddraft_model_refused", "1 where a wanted model was not taken, by reason", labels=["role", "code"]
    )
    for role, figures in workers.items():
        told = figures["model"]
        weights = told["weights_sha256"][:16]
        model.add_metric([role, told["name"], told["version"], told["precision"], weights, told["engine"]], 1)
        for graph, provider in told["providers"].items():
            providers.add_metric([role, graph, provider], 1)
        if figures["model_refused"]:
            refused.add_metric([role, figures["model_refused"]], 1)
    yield from (model, providers, refused)


def _trials(workers: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    ended = GaugeMetricFamily(
        "raddraft_model_trial_failed",
        "How the model's last trial on blank and known images ended: 1 failed, 0 not",
        labels=["role", "check"],
    )
    made = GaugeMetricFamily(
        "raddraft_model_trial_timestamp_seconds", "When the model was last tried", labels=["role"]
    )
    for role, figures in workers.items():
        trial = figures.get("trial") or {}
        for check, status in trial.get("checks", {}).items():
            ended.add_metric([role, check], float(status == "fail"))
        if trial:
            made.add_metric([role], trial["at_s"])
    yield from (ended, made)


def _device(workers: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily(
        "raddraft_device_memory_bytes", "Memory of the worker's GPU: free, total", labels=["role", "kind"]
    )
    for role, figures in workers.items():
        for kind, count in figures.get("device_bytes", {}).items():
            family.add_metric([role, kind], float(count))
    return family
