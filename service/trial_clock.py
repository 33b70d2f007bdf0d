"""The model is tried on blank and known pictures before it serves and every day; what it fails withholds results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Engine

from clinical import CheckResult, CheckStatus, Permanent, RadDraftError
from imaging import DecodeLimits, Flavour
from inference import KnownImage, Model, canary_checks
from service.book.trials import Trial, latest_trial, save_trial
from service.calibrating import labelled_images, labelled_pixels
from service.clock import now_utc
from service.model_seat import ModelSeat

_log = structlog.get_logger(__name__)
_LOOK_S = 2.0
_RETRY = timedelta(minutes=10)


class TrialClock:
    """A thread that tries the seated model when its last trial is old, a failed one soon again.

    A worker lets a model be tried before it is ready with it or exchanges another for it (`try_now`).

    Until a loaded model was tried here, it stands on the newest trial in the book of the same model on the same
    engine; after that on its own, since another process's pass says nothing about this one's memory.

    Parameters
    ----------
    known
        Images with known findings for a model: the site's, or its package's.
    every
        Age from which a trial is repeated; one that failed is repeated after ten minutes already.
    lowest
        See `inference.canary.canary_checks`.
    deadline_s
        Longest time for one image.
    """

    def __init__(
        self,
        engine: Engine,
        seat: ModelSeat,
        known: Callable[[Model], Sequence[KnownImage]],
        *,
        every: timedelta,
        lowest: float,
        deadline_s: float,
    ) -> None:
        self._engine = engine
        self._seat = seat
        self._known = known
        self._every = every
        self._lowest = lowest
        self._deadline_s = deadline_s
        self._own: WeakKeyDictionary[Model, Trial] = WeakKeyDictionary()
        self._not_before: datetime | None = None
        self._not_made = ""
        self._stop = Event()
        self._thread = Thread(target=self._run, name="trial-clock", daemon=True)

    def start(self) -> None:
        """Begin; returns when a first trial was made, or could not be."""
        self._look_on()
        self._thread.start()

    def stop(self) -> None:
        """End; a trial under way is waited for."""
        self._stop.set()
        self._thread.join()

    def look(self) -> bool:
        """Try the seated model if a trial is due; True if it was tried."""
        now = now_utc()
        with self._seat.using() as seated:
            model = seated.model
            own = self._own.get(model)
            if own is not None and now - own.at_utc < self._age_limit(own):
                return False
            if self._not_before is not None and now < self._not_before:
                return False
            try:
                self.try_now(model)
            except RadDraftError as error:
                self._not_before, self._not_made = now + _RETRY, error.code
                _log.warning("trial_not_made", code=error.code)
                return False
        self._not_before, self._not_made = None, ""
        return True

    def try_now(self, model: Model) -> Trial:
        """Try a loaded model, seated or not, and keep how it ended.

        Raises
        ------
        RadDraftError
            As `inference.canary.canary_checks` does; then no trial was made.
        """
        checks = canary_checks(model, self._known(model), lowest=self._lowest, deadline_s=self._deadline_s)
        trial = save_trial(self._engine, model.identity, checks, now=now_utc())
        self._own[model] = trial
        (_log.error if trial.failed else _log.info)(
            "model_tried", model=trial.model_name, **{check.name: check.status.value for check in checks}
        )
        return trial

    def problem(self, model: Model) -> str:
        """Why a worker with this model is not ready, in words; empty where it passed its trial here."""
        trial = self._own.get(model)
        if trial is None:
            return (
                f"could not try its model ({self._not_made})" if self._not_made else "has not tried its model"
            )
        return f"withholds every result: {trial.failure}" if trial.failed else ""

    def standing(self, model: Model) -> tuple[CheckResult, ...]:
        """The checks of a model's last trial, as every result says them."""
        trial = self._last(model)
        if trial is None:
            return (CheckResult("canary", "1", CheckStatus.NOT_RUN, "the model was not tried here yet"),)
        at = f"{trial.at_utc:%Y-%m-%d %H:%M} UTC"
        return tuple(replace(check, evidence=f"{check.evidence}; trial of {at}") for check in trial.checks)

    def figures(self, model: Model) -> dict[str, Any]:
        """For metrics: when the last trial was, in seconds since 1970, and how each check ended."""
        trial = self._last(model)
        if trial is None:
            return {}
        checks = {check.name: check.status.value for check in trial.checks}
        return {"at_s": trial.at_utc.timestamp(), "checks": checks}

    def _age_limit(self, trial: Trial) -> timedelta:
        """A failed trial withholds everything: whatever was repaired is to be noticed soon."""
        return min(self._every, _RETRY) if trial.failed else self._every

    def _last(self, model: Model) -> Trial | None:
        """What was tried here since the model was loaded; before that, the newest trial in the book."""
        return self._own.get(model) or latest_trial(self._engine, model.identity)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._look_on()

    def _look_on(self) -> None:
        try:
            self.look()
        except RadDraftError as error:
            _log.warning("trial_interrupted", code=error.code)
        except Exception as error:
            # A defect in a trial must not end the trials of the days to come.
            self._not_before, self._not_made = now_utc() + _RETRY, "defect"
            _log.error("trial_defect", error_type=type(error).__name__)


def site_known_images(
    labels: Path, limits: DecodeLimits, flavour: Flavour, images: Path | None = None
) -> tuple[KnownImage, ...]:
    """The images of a site's labels file (see `service.calibrating`), as a model trained on `flavour` reads them.

    Parameters
    ----------
    images
        Folder of the images; None looks beside the labels.

    Raises
    ------
    Permanent
        As `labelled_images` does, or ``known-image-unreadable``.
    """
    found = []
    for image in labelled_images(labels, images or labels.parent):
        try:
            pixels = labelled_pixels(image.path, limits, flavour)
        except (RadDraftError, OSError):
            raise Permanent(
                "known-image-unreadable",
                f"an image of {labels} cannot be read; take it out or put it right",
                tag="checks.canary_images",
            ) from None
        present = frozenset(label for label, there in image.labels.items() if there)
        found.append(KnownImage(pixels, present, frozenset(image.labels) - present))
    return tuple(found)
