"""A road of its own to each destination: one that is slow or hangs keeps no other waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError
from service.book.outbox import destination_of

_log = structlog.get_logger(__name__)


class DeliveryRoads:
    """Takes hints off the ``io`` queue at once and works on them in threads that belong to one destination each.

    A hint that is lost with this process costs time only: the sweeper gives it again, and the lease, which is taken on
    the road, decides who works.

    Parameters
    ----------
    deliver
        Works on one delivery, by its row number; its outcome is a committed state.
    width
        Deliveries to one destination at once.
    """

    def __init__(self, engine: Engine, deliver: Callable[[int], None], *, width: int) -> None:
        self._engine = engine
        self._deliver = deliver
        self._width = width
        self._lock = Lock()
        self._roads: dict[str, ThreadPoolExecutor] = {}
        self._under_way: set[int] = set()

    def put(self, delivery_id: int) -> None:
        """Put a delivery on its destination's road; one that is there already is not put twice."""
        destination = destination_of(self._engine, delivery_id)
        if destination is None:
            return
        with self._lock:
            if delivery_id in self._under_way:
                return
            self._under_way.add(delivery_id)
            if destination not in self._roads:
                self._roads[destination] = ThreadPoolExecutor(
                    self._width, thread_name_prefix=f"to-{destination}"
                )
            self._roads[destination].submit(self._work, delivery_id)

    def _work(self, delivery_id: int) -> None:
        try:
            self._deliver(delivery_id)
        except RadDraftError as error:
            _log.warning("delivery_interrupted", delivery_row=delivery_id, code=error.code)
        except Exception as error:
            # A thread's exception would vanish with its future; its text may quote the result.
            _log.error("delivery_defect", delivery_row=delivery_id, error_type=type(error).__name__)
        finally:
            with self._lock:
                self._under_way.discard(delivery_id)

    def close(self) -> None:
        """Wait for what is being sent; what waits is left to the sweeper."""
        with self._lock:
            roads = list(self._roads.values())
        for road in roads:
            road.shutdown(wait=True, cancel_futures=True)
