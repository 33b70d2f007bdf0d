"""Any LLaVA-OneVision checkpoint folder as an `Answerer`: read as in training, answered by transformers' `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from inference.prompts import conversation
from training.evaluation.suite import Asked
from training.tuning.plan import LossMode
from training.tuning.samples import SampleReader, collate

LONGEST_TOKENS = 1500
"""RadVLM's own evaluation lets an answer be that long."""


class CheckpointAnswerer:
    """Greedy answers of a checkpoint folder, one question after another; on a GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        self._model = model.train(False).to(self._device)
        config = LlavaOnevisionConfig.from_pretrained(folder)
        self._reader = SampleReader(folder, config, folder, LossMode.ASSISTANT_ONLY)
        self._greedy = GenerationConfig(
            do_sample=False, max_new_tokens=LONGEST_TOKENS,
            eos_token_id=self._reader.end_id, pad_token_id=self._reader.pad_id,
        )  # fmt: skip

    @torch.no_grad()
    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answers in the order asked; the checkpoint's own sampling settings are left out."""
        return [self._answer(image, conversation(one.history, one.question)) for one in asked]

    def _answer(self, image: NDArray[np.uint8], text: str) -> str:
        sample = self._reader.sample(image, text)
        batch = {key: value.to(self._device) for key, value in collate([sample], self._reader.pad_id).items()}
        del batch["labels"]
        batch["pixel_values"] = batch["pixel_values"].to(self._model.dtype)
        out = cast(Tensor, self._model.generate(**batch, generation_config=self._greedy))
        return self._reader.text(out[0, len(sample.tokens.ids) :].tolist())
