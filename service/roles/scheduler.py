"""The scheduler's process."""

from __future__ import annotations

from service.house import celery_app, open_house, require_shared_broker
from service.queues import Hints
from service.role_process import SignsOfLife, die_with_supervisor, stop_on_signals
from service.scheduler import Sweeper
from service.settings import Settings


def run_scheduler(settings: Settings) -> None:
    """The sweeper, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "scheduler")
    stop = stop_on_signals()
    house = open_house(settings)
    signs = SignsOfLife(house.book.engine, "scheduler", lambda: (True, "sweeping"))
    signs.start()
    sweeper = Sweeper(house.book.engine, Hints(celery_app(settings)), hint_age_s=settings.lease.hint_age_s)
    sweeper.run(stop, interval_s=settings.lease.sweep_interval_s)
    signs.stop()
