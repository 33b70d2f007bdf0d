"""What one reinforcement run does, read from TOML; the defaults are RadVLM-GRPO's hyper-parameters."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from training.tuning.plan import TuningPlan, plan_from

_RATES = {"learning_rate": 1e-6, "vision_learning_rate": 1e-6}
_WITHOUT_MEANING = ("loss_mode", "accumulate", "epochs", "warmup_ratio")


@dataclass(frozen=True, slots=True)
class GrpoPlan:
    """One run of group relative policy optimisation (Shao et al., arXiv 2402.03300, section 4.1).

    The defaults are those of RadVLM-GRPO (arXiv 2512.10691): 512 questions a step, here over `questions` times the
    number of processes, in four updates, at a constant rate of 1e-6.

    Parameters
    ----------
    tuning
        Which weights learn and how fast; `batch_images` is the number of answers in one forward pass and divides
        those of an update. The rate is constant, and `loss_mode`, `accumulate`, `epochs` and `warmup_ratio` have no
        meaning.
    steps
        Rounds of asking and learning; a run goes through the rows again, in another order, where they are too few.
    questions
        Questions of one process in a step; each is answered `rollouts` times.
    updates
        Optimiser steps made of one step's answers; divides `questions`.
    kl_weight
        Weight of the divergence from the starting checkpoint; 0 leaves the reference model out.
    clip_low, clip_high
        The ratio of new to old probability counts between 1 - low and 1 + high.
    temperature
        Of the sampling and of every probability.
    longest_tokens
        Of an answer.
    """

    tuning: TuningPlan = field(default_factory=lambda: plan_from(_RATES))
    steps: int = 300
    questions: int = 512
    rollouts: int = 8
    updates: int = 4
    kl_weight: float = 0.01
    clip_low: float = 0.2
    clip_high: float = 0.28
    temperature: float = 1.0
    longest_tokens: int = 1024

    def __post_init__(self) -> None:
        if self.rollouts < 2:
            raise ValueError("rollouts: a group needs two answers or more")
        if self.questions % self.updates:
            raise ValueError(f"updates: {self.questions} questions do not divide into {self.updates}")
        if (answers := self.questions * self.rollouts // self.updates) % self.tuning.batch_images:
            raise ValueError(
                f"tuning.batch_images: an update's {answers} answers do not divide into passes of "
                f"{self.tuning.batch_images}"
            )


def read_grpo_plan(path: Path) -> GrpoPlan:
    """Plan of a TOML file: keys of its own on top, those of `TuningPlan` in the table `[tuning]`.

    Raises TypeError for an unknown key and ValueError for a value or key that means nothing here.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    told = content.pop("tuning", {})
    for key in _WITHOUT_MEANING:
        if key in told:
            raise ValueError(f"tuning.{key} has no meaning in reinforcement")
    return GrpoPlan(tuning=plan_from(_RATES | told), **content)
