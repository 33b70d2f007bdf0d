"""Studies that have come whole are looked at by the site's rules before they are queued for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from pydicom import Dataset
from sqlalchemy import Engine

from clinical import RadDraftError
from dicom_node import Spool
from imaging import read_header
from inference.gate import gate_header
from service.book import triage
from service.routing import Route, route_of
from service.settings import RuleSection

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TriageDesk:
    """Applies the routing rules to studies that are due; finds those to be read early."""

    engine: Engine
    spool: Spool
    rules: tuple[RuleSection, ...]
    early_reading: bool = False

    def look(self, now: datetime) -> int:
        """Look at every study that is due and not looked at yet; return how many.

        With early reading those that still wait for quiet are looked at too, and one with a frontal image that is to be
        read is due at once.
        """
        early = triage.arriving_studies(self.engine, now) if self.early_reading else []
        due = triage.due_studies(self.engine, now)
        for study_id in (*early, *due):
            arrivals, images = triage.waiting_images(self.engine, study_id)
            seen = [(image, self._header(image)) for image in images]
            routes = [(image.instance_id, self._route(image, header)) for image, header in seen]
            triage.apply_triage(self.engine, study_id, arrivals, study_route(routes), now=now)
            if study_id in early and any(
                route.read and header is not None and gate_header(header).accepted
                for (_, route), (_, header) in zip(routes, seen, strict=True)
            ):
                triage.make_due(self.engine, study_id, now=now)
        return len(early) + len(due)

    def _header(self, image: triage.WaitingImage) -> Dataset | None:
        try:
            return read_header(self.spool.path(image.spool_key))
        except RadDraftError as error:
            # What cannot be read is for the reader to say: no rule keeps it from being accounted for.
            _log.warning("rules_saw_no_header", instance_row=image.instance_id, code=error.code)
            return None

    def _route(self, image: triage.WaitingImage, header: Dataset | None) -> Route:
        return Route() if header is None else route_of(header, image.calling_ae_title, self.rules)


def study_route(routes: Sequence[tuple[int, Route]]) -> triage.Triage:
    """What the routes of a study's images make of it.

    One urgent image makes the study urgent; its results go wherever one of its images' results would.
    """
    read = [route for _, route in routes if route.read]
    return triage.Triage(
        not_read=tuple((instance_id, route.rule) for instance_id, route in routes if not route.read),
        is_stat=any(route.is_stat for route in read),
        destinations=_together(route.destinations for route in read),
    )


def _together(destinations: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    named: set[str] = set()
    for each in destinations:
        if each is None:
            return None
        named.update(each)
    return tuple(sorted(named)) if named else None
