"""What every role's process has in common: it dies with its supervisor and gives signs of life."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from service.book.queries import note_role
from service.clock import now_utc
from service.settings import Settings

SUPERVISOR_PID_VARIABLE = "RADDRAFT_SUPERVISOR_PID"
NODE_SOCKET_VARIABLE = "RADDRAFT_NODE_SOCKET_FD"
NODE_NUMBER_VARIABLE = "RADDRAFT_NODE_NUMBER"
HTTP_SOCKET_VARIABLE = "RADDRAFT_HTTP_SOCKET_FD"
HL7_SOCKET_VARIABLE = "RADDRAFT_HL7_SOCKET_FD"
ROLE_NAME_VARIABLE = "RADDRAFT_ROLE_NAME"
_PR_SET_PDEATHSIG = 1
_SIGN_OF_LIFE_S = 5.0

_log = structlog.get_logger(__name__)


def die_with_supervisor() -> None:
    """Ask the kernel to kill this process when its supervisor ends (prctl(2), PR_SET_PDEATHSIG)."""
    expected = os.environ.get(SUPERVISOR_PID_VARIABLE)
    if expected is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The supervisor may have ended before the call; then this process has already another parent.
    if os.getppid() != int(expected):
        raise SystemExit("the supervisor has ended")


def lease_owner() -> str:
    """Name this process signs its leases with: host, supervisor where there is one, process."""
    return f"{lease_owner_prefix(os.environ.get(SUPERVISOR_PID_VARIABLE, 'alone'))}{os.getpid()}"


def lease_owner_prefix(supervisor: str) -> str:
    """Start of the lease owner names of one supervisor's children on this host."""
    return f"{socket.gethostname()[:64]}/{supervisor}/"


def reading_workers(settings: Settings) -> list[tuple[str, int | None]]:
    """Name and GPU of each reading worker that `serve` starts; no GPU where the settings name none."""
    devices = settings.model.devices
    return [(f"worker-gpu-{device}", device) for device in devices] or [("worker-gpu", None)]


def inherited_socket(variable: str) -> socket.socket | None:
    """The listening socket the supervisor bound and named in an environment variable; None without one."""
    descriptor = os.environ.get(variable)
    return socket.socket(fileno=int(descriptor)) if descriptor else None


def stop_on_signals() -> Event:
    """Event that SIGTERM and SIGINT set."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class SignsOfLife:
    """A thread that notes this role in the account book every few seconds.

    Parameters
    ----------
    state
        Returns whether the role is ready and, if not, why.
    figures
        Returns what the process measures of itself.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        state: Callable[[], tuple[bool, str]],
        figures: Callable[[], Mapping[str, Any]] = lambda: {},
    ) -> None:
        self._engine = engine
        self._name = name
        self._state = state
        self._figures = figures
        self._stop = Event()
        self._thread = Thread(target=self._run, name="signs-of-life", daemon=True)

    def start(self) -> None:
        """Begin, with a first sign at once."""
        self._note()
        self._thread.start()

    def stop(self) -> None:
        """End, with a last sign that says so."""
        self._stop.set()
        self._thread.join()

    def note_now(self) -> None:
        """Give a sign outside the rhythm, e.g. when the role has just become ready."""
        self._note()

    def _run(self) -> None:
        while not self._stop.wait(_SIGN_OF_LIFE_S):
            self._note()

    def _note(self) -> None:
        ready, detail = self._state()
        try:
            note_role(
                self._engine,
                self._name,
                ready=ready,
                detail=detail,
                now=now_utc(),
                figures=self._figures(),
            )
        except RadDraftError as error:
            _log.warning("sign_of_life_not_noted", role=self._name, code=error.code)
