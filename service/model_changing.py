"""Exchanges the model of a running worker: the new one is loaded and tried beside the old, then takes its seat."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import structlog
from sqlalchemy import Engine

from clinical import Permanent, RadDraftError, Transient
from service.book.model_orders import ordered_model
from service.model_seat import ModelSeat, Seated
from service.settings import ModelSection, Settings

_log = structlog.get_logger(__name__)
_LOOK_S = 2.0


def effective_settings(settings: Settings, ordered: str | None) -> Settings:
    """Settings with the operator's ordered model package in place of the configured one."""
    if ordered is None:
        return settings
    return settings.model_copy(update={"model": settings.model.model_copy(update={"path": ordered})})


class ModelChanger:
    """Looks what the operator wants, every few seconds and on SIGHUP.

    Parameters
    ----------
    settings
        What the worker was started with.
    reload
        Reads the configuration anew, for SIGHUP.
    load
        Loads and tries the model of some settings.

    Attributes
    ----------
    refused, reason
        Code of why the last wanted model was not taken, and the same in words; empty where it was.
    """

    def __init__(
        self,
        engine: Engine,
        seat: ModelSeat,
        settings: Settings,
        *,
        reload: Callable[[], Settings],
        load: Callable[[Settings], Seated],
    ) -> None:
        self.refused = self.reason = ""
        self._engine = engine
        self._seat = seat
        self._configured = settings
        self._reload = reload
        self._load = load
        self._loaded = effective_settings(settings, ordered_model(engine)).model
        self._unwanted: ModelSection | None = None
        self._reload_asked = False
        self._nudge = Event()
        self._closed = False
        self._thread = Thread(target=self._run, name="model-changer", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; a model that is being loaded is waited for."""
        self._closed = True
        self._nudge.set()
        self._thread.join()

    def reload_configuration(self) -> None:
        """Read the configuration anew soon; a signal handler may call it."""
        self._reload_asked = True
        self._nudge.set()

    def look(self) -> bool:
        """Exchange the model if another is wanted; True if it was."""
        if self._reload_asked:
            self._reload_asked = False
            self._unwanted = None
            self._configured = self._reload()
        settings = effective_settings(self._configured, ordered_model(self._engine))
        if settings.model == self._loaded:
            self._unwanted, self.refused, self.reason = None, "", ""
            return False
        if settings.model == self._unwanted:
            return False
        self.refused = self.reason = ""
        try:
            seated = self._load(settings)
        except Transient as error:
            self.refused, self.reason = error.code, error.message
            _log.warning("model_not_changed_yet", code=error.code)
            return False
        except Permanent as error:
            # Not tried again until something else is wanted, or SIGHUP asks for it.
            self._unwanted, self.refused, self.reason = settings.model, error.code, error.message
            _log.error("model_refused", code=error.code, reason=error.message)
            return False
        self._seat.change(seated)
        self._loaded = settings.model
        identity = seated.model.identity
        _log.info("model_changed", model=identity.name, version=identity.version, engine=identity.engine)
        return True

    def _run(self) -> None:
        while True:
            self._nudge.wait(_LOOK_S)
            self._nudge.clear()
            if self._closed:
                return
            try:
                self.look()
            except RadDraftError as error:
                _log.warning("model_not_looked_for", code=error.code)
            except Exception as error:
                # A defect of the new package or of a library: the model that works goes on.
                self.refused = "defect"
                _log.error("model_change_defect", error_type=type(error).__name__)
