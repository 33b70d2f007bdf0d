"""A Celery worker's process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import structlog
from celery import Celery

from clinical import RadDraftError
from service.book.leases import LeaseKeeper
from service.delivery_roads import DeliveryRoads
from service.house import House, celery_app, open_house, require_shared_broker
from service.queues import GPU_QUEUE, IO_QUEUE, Hints
from service.role_process import ROLE_NAME_VARIABLE, SignsOfLife, die_with_supervisor
from service.settings import Settings, load_settings
from service.worker import register_io, register_reading, run_worker_loop, when_ready

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, queues: Sequence[str]) -> None:
    """A Celery worker for `queues`, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "worker")
    house = open_house(settings)
    app = celery_app(settings)
    keeper = LeaseKeeper(house.book.engine, lease_s=settings.lease.lease_s)
    keeper.start()
    name = os.environ.get(ROLE_NAME_VARIABLE) or "worker-" + "-".join(sorted(queues))
    state: dict[str, Any] = {"ready": False, "figures": dict, "problem": str}

    def condition() -> tuple[bool, str]:
        if not state["ready"]:
            return False, "loading"
        problem = state["problem"]()
        return not problem, problem or "ready"

    signs = SignsOfLife(house.book.engine, name, condition, figures=lambda: state["figures"]())
    signs.start()
    concurrency = 1
    with ExitStack() as closing:
        # Each kind of work brings libraries the other does not need; a worker loads only its own.
        if GPU_QUEUE in queues:
            state["figures"], state["problem"] = _read_studies(house, app, keeper, closing)
            concurrency = settings.model.studies_in_flight
        if IO_QUEUE in queues:
            from service.io_worker import io_desks

            telling, delivering, comparing = io_desks(house, Hints(app), keeper)
            width = settings.delivery.parallel_per_destination
            roads = DeliveryRoads(house.book.engine, delivering.deliver, width=width)
            closing.callback(roads.close)
            register_io(app, telling, roads, comparing)
            concurrency = max(concurrency, settings.delivery.parallel)
        state["ready"] = True
        signs.note_now()
        try:
            run_worker_loop(app, queues, concurrency=concurrency, name=name)
        finally:
            state["ready"] = False
            signs.stop()
            keeper.stop()


def _read_studies(
    house: House, app: Celery, keeper: LeaseKeeper, closing: ExitStack
) -> tuple[Callable[[], dict[str, Any]], Callable[[], str]]:
    """Load and try the model, take the queue's task, watch the engine.

    Returns
    -------
    tuple
        What tells the worker's figures, and what tells why it is not ready (empty where it is).
    """
    from service.book.model_orders import ordered_model
    from service.chat_desk import ChatListener
    from service.model_changing import ModelChanger, effective_settings
    from service.model_seat import ModelSeat
    from service.reading_worker import (
        chat_desk,
        passed_model,
        reading_desk,
        seated_model,
        shadow_reader,
        trial_clock,
    )
    from service.watchdog import EngineWatchdog
    from service.worker_figures import worker_figures

    # Nobody's model is lost to a SIGHUP that comes while the first one is being loaded.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = house.settings
    seated = seated_model(effective_settings(settings, ordered_model(house.book.engine)))
    identity = seated.model.identity
    _log.info(
        "model_loaded",
        model=identity.name,
        version=identity.version,
        engine=identity.engine,
        providers=dict(seated.model.providers),
    )
    seat = ModelSeat(seated)
    EngineWatchdog(lambda: seat.models, stall_s=settings.model.engine_stall_s).start()
    trials = trial_clock(house, seat)
    # A first model that fails is worked with: its results are withheld and told so, and the worker is not ready.
    trials.start()
    closing.callback(trials.stop)
    changer = ModelChanger(
        house.book.engine,
        seat,
        settings,
        reload=load_settings,
        load=lambda wanted: passed_model(wanted, trials),
    )
    changer.start()
    closing.callback(changer.stop)
    # Celery sets its own handlers when it starts: ours follows them.
    when_ready(lambda: signal.signal(signal.SIGHUP, lambda *_: changer.reload_configuration()))
    if settings.model.shadow is not None:
        try:
            shadow = shadow_reader(house, settings, seat)
        except RadDraftError as error:
            # A model on trial that cannot be loaded keeps no study from being read.
            _log.error("shadow_refused", code=error.code, reason=error.message)
        else:
            shadow.start()
            closing.callback(shadow.stop)
    if settings.chat.enabled:
        listener = ChatListener(chat_desk(house, seat))
        listener.start()
        closing.callback(listener.stop)
    register_reading(app, reading_desk(house, seat, Hints(app), keeper, trials))
    return lambda: worker_figures(seat, changer, trials), lambda: trials.problem(seat.current.model)
