"""Drift at work: what images and readings looked like is judged again and again; results say what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

import structlog
from pydicom import Dataset
from sqlalchemy import Engine

from clinical import CheckResult, CheckStatus, ModelIdentity, RadDraftError
from service.book.observations import Observed, drift_alarms, forget_old, keep_alarms, observed
from service.clock import now_utc
from service.drift import DriftTerms, QuantityVerdict, drift_verdicts
from service.observing import device_of
from service.settings import Settings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DriftWatch:
    """Judges every device and keeps its alarms in the book."""

    engine: Engine
    terms: DriftTerms

    def look(self) -> int:
        """Judge once; return how many quantities have changed in all."""
        changed = 0
        for one, verdicts in judged(self.engine, self.terms):
            found = [verdict for verdict in verdicts if verdict.changed]
            changed += len(found)
            new = keep_alarms(self.engine, one.source_id, one.weights_sha256, found, now=now_utc())
            for verdict in new:
                _log.warning(
                    "drift", source_row=one.source_id, quantity=verdict.quantity, score=verdict.score
                )
        forget_old(self.engine, self.terms.baseline_images)
        return changed

    def run(self, stop: Event, interval_s: float) -> None:
        """Judge every `interval_s` until `stop`."""
        while not stop.wait(interval_s):
            try:
                self.look()
            except RadDraftError as error:
                _log.warning("drift_not_judged", code=error.code)


def drift_terms(settings: Settings) -> DriftTerms:
    """How many images are compared with how many."""
    return DriftTerms(settings.drift.baseline_images, settings.drift.recent_images)


def judged(engine: Engine, terms: DriftTerms) -> list[tuple[Observed, tuple[QuantityVerdict, ...]]]:
    """Every device with what can be said of it now."""
    return [
        (one, drift_verdicts(one.first, one.later, terms)) for one in observed(engine, terms.baseline_images)
    ]


def drift_check(engine: Engine, header: Dataset, identity: ModelIdentity) -> CheckResult:
    """What has changed of the images of the device that made this one, and of their readings."""
    alarms = drift_alarms(engine, device_of(header), identity.weights_sha256)
    if not alarms:
        return CheckResult("drift", "1", CheckStatus.PASS, "no change of this device's images is known")
    worst = max(alarms, key=lambda alarm: alarm.score)
    more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
    evidence = f"images of this device are not what they were: {worst.evidence}{more}"
    return CheckResult("drift", "1", CheckStatus.WARN, evidence, worst.score)
