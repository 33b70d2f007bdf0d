"""Trackers beside the log of a run: TensorBoard or MLflow, where the plan names them and they are installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from accelerate import Accelerator

from training.tuning.grpo_plan import GrpoPlan
from training.tuning.plan import TuningPlan

_PROJECT = "raddraft"


def start_trackers(accelerator: Accelerator, plan: TuningPlan | GrpoPlan) -> None:
    """Open the plan's trackers with its values as the run's parameters; none named, nothing done."""
    track = plan.track if isinstance(plan, TuningPlan) else plan.tuning.track
    if track:
        accelerator.init_trackers(_PROJECT, dict(_flat(asdict(plan))))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": told for inner, told in _flat(value).items()}
        else:
            flat[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return flat
