"""State of a stage on disk, so that a run that was killed goes on where it was, another day if need be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from training.optimiser import Pair
from training.recipe import Recipe

SAVE_EVERY_S = 180.0


class OtherRun(ValueError):
    """The folder holds a run of another model or other data; going on would mix two runs."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a stage is: steps done, seconds they took over all runs, and whether it is at its end."""

    step: int = 0
    elapsed_s: float = 0.0
    done: bool = False


class StageState:
    """One stage's file. Every process restores it; only the first writes it.

    Parameters
    ----------
    identity
        What has to be the same in the run that goes on; `identity_of` gives it.
    """

    def __init__(self, path: Path, parts: dict[str, nn.Module], optimiser: Pair, identity: str) -> None:
        self._path, self._parts, self._optimiser, self._identity = path, parts, optimiser, identity

    def restore(self) -> Reached:
        """Load what was saved last; raises `OtherRun` where that is another run's."""
        if not self._path.exists():
            return Reached()
        content = torch.load(self._path, weights_only=True)
        if content["identity"] != self._identity:
            raise OtherRun(f"{self._path.parent} holds another run: give another --out or remove it")
        for name, module in self._parts.items():
            module.load_state_dict(content[name])
        self._optimiser.load_state_dict(content["optimiser"])
        return Reached(content["step"], content["elapsed_s"], content["done"])

    def save(self, reached: Reached) -> None:
        """Write all, in the place of what was saved before; a kill in between leaves one of the two."""
        content = {
            "identity": self._identity,
            "optimiser": self._optimiser.state_dict(),
            **{name: module.state_dict() for name, module in self._parts.items()},
            **asdict(reached),
        }
        fresh = self._path.with_suffix(".part")
        torch.save(content, fresh)
        fresh.replace(self._path)


def identity_of(recipe: Recipe, images: int) -> str:
    """SHA-256 over what may not change within a run: the model's size, the seed, the processes and the data's extent.

    Lengths and rates of the stages may: a run can be given more time.
    """
    told = [asdict(recipe.model), recipe.seed, recipe.processes, images]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def progress_of(reached: Reached, minutes: float, steps: int) -> float:
    """Part of a stage that is done, 0 to 1 and more: by steps where they are given, else by the clock."""
    return reached.step / steps if steps else reached.elapsed_s / (minutes * 60)
