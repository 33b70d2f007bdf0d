"""What a reading worker measures of itself, for metrics: the process that answers them is another one."""

from __future__ import annotations

from typing import Any

import psutil

from inference import Model, device_memory
from service.model_changing import ModelChanger
from service.model_seat import ModelSeat
from service.trial_clock import TrialClock


def worker_figures(seat: ModelSeat, changer: ModelChanger, trials: TrialClock) -> dict[str, Any]:
    """Figures of this moment: names, counts and bytes, nothing of a patient."""
    model = seat.current.model
    memory = psutil.Process().memory_info()
    device = device_memory(model)
    return {
        "in_flight": sum(each.engine.in_flight for each in seat.models),
        "queued": sum(each.engine.queued for each in seat.models),
        "resident_bytes": memory.rss,
        "cache_bytes": model.cache_bytes,
        "device_bytes": {"free": device[0], "total": device[1]} if device else {},
        "model": model_figures(model),
        "trial": trials.figures(model),
        "model_refused": changer.refused,
        "model_refused_reason": changer.reason,
    }


def model_figures(model: Model) -> dict[str, Any]:
    """Which model it is and what runs it."""
    identity = model.identity
    return {
        "name": identity.name,
        "version": identity.version,
        "weights_sha256": identity.weights_sha256,
        "precision": identity.precision,
        "engine": identity.engine,
        "providers": dict(model.providers),
    }
