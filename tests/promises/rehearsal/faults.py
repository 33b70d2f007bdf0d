"""What goes wrong during a rehearsal, each at its share of the acknowledged studies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from service.cli.demo.pacs import DemoPacs
from tests.promises.installation import Installation

_OUT_OF_RESOURCES = 0xA700
_REFUSING_S, _PATIENCE_S = 8.0, 300.0


@dataclass
class FaultyPacs(DemoPacs):
    """A PACS that can be told to refuse, and that notes when each object came first (seconds of the clock)."""

    is_refusing: bool = False
    refused: int = 0
    arrived_s: dict[str, float] = field(default_factory=dict)

    def _store(self, event: object) -> int:
        if self.is_refusing:
            self.refused += 1
            return _OUT_OF_RESOURCES
        uid = str(event.request.AffectedSOPInstanceUID)  # type: ignore[attr-defined]
        status = super()._store(event)  # type: ignore[arg-type]
        if status == 0:
            self.arrived_s.setdefault(uid, time.time())
        return status


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, when `share` of the studies are acknowledged."""

    share: float
    what: str
    strike: Callable[[Installation, FaultyPacs], None]


def _flush_broker(site: Installation, _: FaultyPacs) -> None:
    with redis.Redis(unix_socket_path=str(site.folder / "data" / "broker" / "redis.sock")) as client:
        client.flushall()


def _refuse(site: Installation, pacs: FaultyPacs) -> None:
    """Refuse for `_REFUSING_S`, and longer where nothing was sent meanwhile."""
    pacs.is_refusing = True
    time.sleep(_REFUSING_S)
    site.wait_until(lambda: pacs.refused > 0, _PATIENCE_S, "an object to be refused")
    pacs.is_refusing = False


def _restart(site: Installation, _: FaultyPacs) -> None:
    site.kill_supervisor()
    site.start()


def _killed(*words: str) -> Callable[[Installation, FaultyPacs], None]:
    def strike(site: Installation, _: FaultyPacs) -> None:
        site.kill_role(*words)

    return strike


FAULTS: Sequence[Fault] = (
    Fault(0.1, "listener killed", _killed("node")),
    Fault(0.2, "gpu worker killed", _killed("worker", "gpu")),
    Fault(0.3, "broker emptied", _flush_broker),
    Fault(0.4, "PACS out of resources (0xA700) for 8 s or until it refused something", _refuse),
    Fault(0.5, "io worker killed", _killed("worker", "io")),
    Fault(0.6, "broker killed", _killed("redis-server")),
    Fault(0.7, "scheduler killed", _killed("scheduler")),
    Fault(0.8, "supervisor killed with all it runs, and started again", _restart),
    Fault(0.9, "listener killed again", _killed("node")),
)
