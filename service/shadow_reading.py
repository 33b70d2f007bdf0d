"""A second model reads silently what the first has read: while the first has nothing to do, for nobody to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread

import structlog
from sqlalchemy import Engine

from clinical import Draft, RadDraftError, Reading, Transient
from dicom_node import Spool
from imaging import load_displayed
from inference import Model
from service.book import study_images
from service.book.shadow import next_for_shadow, save_shadow, shadow_begins, shadow_name
from service.clock import now_utc
from service.study_reading import ReadingTerms

_log = structlog.get_logger(__name__)
_LOOK_S = 1.0
_MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class ShadowDesk:
    """What the shadow model works with.

    Attributes
    ----------
    busy
        Whether the real model has work: the shadow then waits between two images.
    """

    engine: Engine
    spool: Spool
    model: Model
    terms: ReadingTerms
    busy: Callable[[], bool]
    _tries: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def read_next(self, stop: Event) -> bool:
        """Read the images of the oldest Draft it has not read; False where there is none, or no time for it."""
        name = shadow_name(self.model.identity)
        found = next_for_shadow(self.engine, name, shadow_begins(self.engine, name, now_utc()))
        if found is None:
            return False
        draft_id, study_id, draft = found
        try:
            readings = self._read(study_id, draft, stop)
        except RadDraftError as error:
            if isinstance(error, Transient) and not self._given_up(draft_id, stop):
                _log.warning("shadow_put_off", draft_row=draft_id, code=error.code)
                return False
            save_shadow(self.engine, draft_id, name, (), code=error.code, now=now_utc())
            return True
        save_shadow(self.engine, draft_id, name, readings, now=now_utc())
        return True

    def _given_up(self, draft_id: int, stop: Event) -> bool:
        """Whether a Draft was tried often enough; a shadow that is being ended tries again next time."""
        self._tries[draft_id] = self._tries.get(draft_id, 0) + 1
        return self._tries[draft_id] >= _MOST_TRIES and not stop.is_set()

    def _read(self, study_id: int, draft: Draft, stop: Event) -> tuple[Reading, ...]:
        files = {held.sop_instance_uid: held for held in study_images.images_of_study(self.engine, study_id)}
        found = []
        for told in draft.readings:
            held = files.get(told.image.sop_instance_uid)
            if held is None or not self.spool.path(held.spool_key).exists():
                continue  # its file is purged
            while self.busy():
                if stop.wait(_LOOK_S):
                    raise Transient("shadow-stopped", "the worker ends")
            displayed = load_displayed(
                self.spool.path(held.spool_key), self.terms.limits, self.model.manifest.display
            )
            found.append(
                self.model.read(
                    displayed,
                    image_ref=told.image,
                    study_instance_uid=draft.study_instance_uid,
                    deadline_s=self.terms.read_timeout_s,
                )
            )
        return tuple(found)


class ShadowReader:
    """The thread in which the shadow reads."""

    def __init__(self, desk: ShadowDesk) -> None:
        self._desk = desk
        self._stop = Event()
        self._thread = Thread(target=self._run, name="shadow-reader", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the image under way."""
        self._stop.set()
        self._thread.join()
        self._desk.model.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                read = self._desk.read_next(self._stop)
            except RadDraftError as error:
                read = False
                _log.warning("shadow_interrupted", code=error.code)
            except Exception as error:
                # The shadow is on trial: its defects are told and hurt nobody.
                read = False
                _log.error("shadow_defect", error_type=type(error).__name__)
            if not read:
                self._stop.wait(_LOOK_S)
