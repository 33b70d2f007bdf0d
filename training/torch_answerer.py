"""A checkpoint folder as an `Answerer`, by torch: to look at a model while it is being trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from inference.prompts import END_OF_TURN, conversation
from training.architecture import normalised, tile_features
from training.blocks import prefix_text
from training.evaluation.suite import Asked
from training.packing import prefix_cache, selected

_LONGEST_ANSWER = 160


class TorchAnswerer:
    """Greedy answers of a checkpoint; all questions about an image are decoded together."""

    def __init__(self, folder: Path) -> None:
        self._model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder)
        self._model.train(False)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self._size_px = int(self._model.model.vision_tower.config.image_size)
        self._end = int(self._tokenizer.convert_tokens_to_ids(END_OF_TURN))

    @torch.no_grad()
    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answers in the order asked."""
        side = self._size_px
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255)[None]
        features = tile_features(self._model, normalised(pixels))
        cache = prefix_cache(self._model, features, tuple(self._encode(prefix_text())))
        texts = [conversation(one.history, one.question).split("<image>", 1)[1] for one in asked]
        ids = self._decode(cache, [self._encode(text) for text in texts])
        return [self._tokenizer.decode(one) for one in ids]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _decode(self, cache: DynamicCache, prompts: list[list[int]]) -> list[list[int]]:
        count, longest, prefix = len(prompts), max(map(len, prompts)), cache.get_seq_length()
        ids = torch.zeros((count, longest), dtype=torch.long)
        padding = torch.tensor([longest - len(prompt) for prompt in prompts])
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        past = selected(cache, torch.zeros(count, dtype=torch.long))
        position = prefix + torch.arange(longest)[None] - padding[:, None]
        answers: list[list[int]] = [[] for _ in prompts]
        open_rows = torch.ones(count, dtype=torch.bool)
        for _ in range(_LONGEST_ANSWER):
            chosen = self._next(ids, position.clamp(min=0), past, prefix, padding)
            for row in open_rows.nonzero().flatten().tolist():
                answers[row].append(int(chosen[row]))
            open_rows &= chosen != self._end
            if not open_rows.any():
                break
            ids, position = chosen[:, None], position[:, -1:] + 1
        return [[index for index in answer if index != self._end] for answer in answers]

    def _next(
        self, ids: Tensor, position: Tensor, past: DynamicCache, prefix: int, padding: Tensor
    ) -> Tensor:
        length, before = ids.shape[1], past.get_seq_length()
        key = torch.arange(before + length)
        hidden = (key >= prefix)[None] & (key[None] < prefix + padding[:, None])
        late = key[None] > torch.arange(before, before + length)[:, None]
        blocked = hidden[:, None, :] | late[None]
        mask = torch.zeros(blocked.shape).masked_fill(blocked, torch.finfo(torch.float32).min)[:, None]
        language = self._model.model.language_model
        states = language(
            inputs_embeds=language.get_input_embeddings()(ids),
            attention_mask=mask,
            position_ids=position,
            past_key_values=past,
            use_cache=True,
        ).last_hidden_state
        chosen: Tensor = self._model.lm_head(states[:, -1]).argmax(-1)
        return chosen
