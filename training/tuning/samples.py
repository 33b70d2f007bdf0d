"""Instruction rows as model input: tiles of the image, token ids with the image's place filled, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import LlavaOnevisionConfig, PreTrainedTokenizerFast

from inference.anyres import pack
from inference.processor import Processor, Tiles
from inference.prompts import END_OF_TURN, first_turn
from training.instructions import Row
from training.tuning.chat_tokens import ChatTokens, chat_tokens
from training.tuning.plan import LossMode

NO_LOSS = -100


@dataclass(frozen=True, slots=True)
class Sample:
    """One row: tiles (N, 3, S, S), the image's size (rows, columns), and its tokens."""

    tiles: Tiles
    tokens: ChatTokens


class SampleReader:
    """Reads rows for one checkpoint: its tokenizer, its processor and its geometry decide."""

    def __init__(
        self, checkpoint: Path, config: LlavaOnevisionConfig, image_root: Path, mode: LossMode
    ) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint)
        self._processor = Processor.from_package(checkpoint)
        self._image_root, self._mode = image_root, mode
        self._image_id = int(config.image_token_id)
        vision: Any = config.vision_config
        self._side = vision.image_size // vision.patch_size
        self._max_tiles = int(str(config.vision_aspect_ratio).removeprefix("anyres_max_"))
        self.pad_id = int(self.tokenizer.pad_token_id or 0)
        self.media_ids = (self._image_id, int(config.video_token_id))
        self.end_id = int(self.tokenizer.convert_tokens_to_ids(END_OF_TURN))

    def read(self, row: Row) -> Sample:
        """Sample of one row; the image is read as RadVLM reads it, grey."""
        return self._sample(self.grey(row.image), chat_tokens(row, self._encode, self._mode))

    def ask(self, row: Row) -> Sample:
        """The row's first question alone, in the form the model is asked in; nothing carries loss."""
        return self.sample(self.grey(row.image), first_turn(row.turns[0][0]))

    def sample(self, grey: NDArray[np.uint8], prompt: str) -> Sample:
        """A prompt with the image's place in it, about an image (rows, columns); nothing carries loss."""
        ids = tuple(self._encode(prompt))
        return self._sample(grey, ChatTokens(ids, (NO_LOSS,) * len(ids)))

    def text(self, ids: Sequence[int]) -> str:
        """Text of an answer's tokens, without special ones."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def grey(self, image: str) -> NDArray[np.uint8]:
        """A row's image (rows, columns), grey."""
        with Image.open(self._image_root / image) as file:
            return np.asarray(file.convert("L"))

    def _sample(self, grey: NDArray[np.uint8], tokens: ChatTokens) -> Sample:
        tiles = self._processor.tiles(grey)
        return Sample(tiles, tokens.with_image(self._image_id, self.image_tokens(tiles)))

    def image_tokens(self, tiles: Tiles) -> int:
        """How many tokens the packed image has."""
        empty = np.zeros((len(tiles.pixel_values), self._side**2, 1), dtype=np.float32)
        packed = pack(
            empty, tiles.image, tiles.grid, np.zeros(1, dtype=np.float32),
            tokens_per_side=self._side, max_tiles=self._max_tiles,
        )  # fmt: skip
        return len(packed)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def collate(samples: Sequence[Sample], pad_id: int) -> dict[str, Tensor]:
    """One batch, padded at the right with tokens that carry no loss and tiles that the model leaves out."""
    longest = max(len(sample.tokens.ids) for sample in samples)
    most = max(len(sample.tiles.pixel_values) for sample in samples)
    ids = torch.full((len(samples), longest), pad_id, dtype=torch.long)
    labels = torch.full((len(samples), longest), NO_LOSS, dtype=torch.long)
    mask = torch.zeros((len(samples), longest), dtype=torch.long)
    shape = samples[0].tiles.pixel_values.shape[1:]
    pixels = torch.zeros((len(samples), most, *shape))
    for index, sample in enumerate(samples):
        length, tiles = len(sample.tokens.ids), sample.tiles.pixel_values
        ids[index, :length] = torch.tensor(sample.tokens.ids)
        labels[index, :length] = torch.tensor(sample.tokens.targets)
        mask[index, :length] = 1
        pixels[index, : len(tiles)] = torch.from_numpy(tiles)
    sizes = torch.tensor([sample.tiles.image for sample in samples])
    return {
        "input_ids": ids, "labels": labels, "attention_mask": mask, "pixel_values": pixels, "image_sizes": sizes,
    }  # fmt: skip
