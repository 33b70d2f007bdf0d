"""Sampled answers of the model that learns: each question several times, each answer with its reward and advantage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from training.instructions import Row
from training.tuning.chat_tokens import ChatTokens
from training.tuning.grpo_plan import GrpoPlan
from training.tuning.rewards import reward
from training.tuning.samples import Sample, SampleReader, collate

_SPREAD_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Rollout:
    """One answer: the question with it as a sample whose targets are the answer's tokens."""

    sample: Sample
    reward: float
    advantage: float

    @property
    def answer_tokens(self) -> int:
        """Tokens of the answer, its end included."""
        return sum(target >= 0 for target in self.sample.tokens.targets)


@torch.no_grad()
def roll_out(
    model: nn.Module, reader: SampleReader, row: Row, plan: GrpoPlan, device: torch.device
) -> list[Rollout]:
    """Answer a row's question `plan.rollouts` times by sampling from the whole vocabulary."""
    question = reader.ask(row)
    batch = {key: value.to(device) for key, value in collate([question], reader.pad_id).items()}
    del batch["labels"]
    sampling = GenerationConfig(
        do_sample=True, temperature=plan.temperature, top_k=0, top_p=1.0, max_new_tokens=plan.longest_tokens,
        num_return_sequences=plan.rollouts, eos_token_id=reader.end_id, pad_token_id=reader.pad_id,
        # An image's token in an answer would ask for an image when the answer is read again.
        suppress_tokens=list(reader.media_ids),
    )  # fmt: skip
    out: Tensor = model.generate(**batch, generation_config=sampling)  # type: ignore[operator]
    answers = [_ended(ids, reader.end_id) for ids in out[:, batch["input_ids"].shape[1] :].tolist()]
    rewards = [reward(row, reader.text(ids)) for ids in answers]
    return [
        Rollout(_answered(question, ids), value, advantage)
        for ids, value, advantage in zip(answers, rewards, advantages(rewards), strict=True)
    ]


def advantages(rewards: Sequence[float]) -> list[float]:
    """Each reward's distance from the group's mean in the group's standard deviations; zeros where all are equal."""
    values = np.asarray(rewards, dtype=np.float64)
    spread = values.std(ddof=1)
    if spread < _SPREAD_FLOOR:
        return [0.0] * len(values)
    return [float(value) for value in (values - values.mean()) / spread]


def _ended(ids: list[int], end: int) -> list[int]:
    """Up to and with the end of the turn; the whole where it was cut off by its length."""
    return ids[: ids.index(end) + 1] if end in ids else ids


def _answered(question: Sample, answer: Sequence[int]) -> Sample:
    tokens = question.tokens
    return Sample(question.tiles, ChatTokens((*tokens.ids, *answer), (*tokens.targets, *answer)))
