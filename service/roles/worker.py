"""A Celery worker's process."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from service.book.leases import LeaseKeeper
from service.house import celery_app, open_house, require_shared_broker
from service.queues import GPU_QUEUE, IO_QUEUE, Hints
from service.role_process import SignsOfLife, die_with_supervisor
from service.settings import Settings
from service.worker import register_io, register_reading, run_worker_loop

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, queues: Sequence[str]) -> None:
    """A Celery worker for `queues`, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "worker")
    house = open_house(settings)
    app = celery_app(settings)
    keeper = LeaseKeeper(house.book.engine, lease_s=settings.lease.lease_s)
    keeper.start()
    name = "worker-" + "-".join(sorted(queues))
    ready = {"ready": False}
    signs = SignsOfLife(
        house.book.engine, name, lambda: (ready["ready"], "ready" if ready["ready"] else "loading")
    )
    signs.start()
    concurrency = 1
    # Each kind of work brings libraries the other does not need; a worker loads only its own.
    if GPU_QUEUE in queues:
        from service.reading_worker import reading_desk, site_model
        from service.watchdog import EngineWatchdog

        model = site_model(settings)
        EngineWatchdog(model, stall_s=settings.model.engine_stall_s).start()
        register_reading(app, reading_desk(house, model, Hints(app), keeper))
        concurrency = settings.model.studies_in_flight
        _log.info("model_loaded", model=model.identity.name, engine=model.identity.engine)
    if IO_QUEUE in queues:
        from service.io_worker import io_desks

        register_io(app, *io_desks(house, Hints(app), keeper))
        concurrency = max(concurrency, settings.delivery.parallel)
    ready["ready"] = True
    signs.note_now()
    try:
        run_worker_loop(app, queues, concurrency=concurrency, name=name)
    finally:
        ready["ready"] = False
        signs.stop()
        keeper.stop()
