"""The processor a trainer of another maker is handed: our prompts, tiles and tokens behind transformers' interface.

transformers' own `LlavaOnevisionProcessor` is built only where torchvision loads, because of its video half. This one
has no video, and makes of a question what the serving code makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, ProcessorMixin

from inference.prompts import END_OF_TURN, first_turn
from training.tuning.samples import Sample, SampleReader, collate


class ImageQuestionProcessor(ProcessorMixin):
    """Questions about one image each, as token ids, tiles and sizes; images are named by their files.

    Parameters
    ----------
    tokenizer
        The reader's.
    reader
        Reads images and encodes prompts for one checkpoint.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, reader: SampleReader) -> None:
        super().__init__(tokenizer)  # type: ignore[no-untyped-call]
        self._reader = reader
        tokenizer.eos_token = END_OF_TURN

    def apply_chat_template(  # type: ignore[override]
        self, conversation: Sequence[Any], *, tokenize: bool = False, **_: Any
    ) -> str | dict[str, Any]:
        """Prompt of one conversation (its turns), or with `tokenize` the ids, tiles and sizes of several."""
        if not tokenize:
            return first_turn(_asked(conversation)[0])
        asked = [_asked(messages) for messages in conversation]
        samples = self._read([image for _, image in asked], [first_turn(question) for question, _ in asked])
        batch = self._batch(samples)
        return {"input_ids": [list(sample.tokens.ids) for sample in samples], **batch}

    def __call__(self, images: Sequence[Sequence[str]], text: Sequence[str], **_: Any) -> dict[str, Any]:
        """Tiles and sizes of prompts' images, one each: pixel_values (B, N, 3, S, S), image_sizes (B, 2)."""
        return self._batch(self._read([image for (image,) in images], text))

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **_: Any) -> None:
        """Write the tokenizer; the rest is the checkpoint's own and is copied from there."""
        self.tokenizer.save_pretrained(save_directory)

    def _read(self, images: Sequence[str], prompts: Sequence[str]) -> list[Sample]:
        """A group's answers share their question: each is read once."""
        pairs = list(zip(images, prompts, strict=True))
        read = {
            pair: self._reader.sample(self._reader.grey(pair[0]), pair[1]) for pair in dict.fromkeys(pairs)
        }
        return [read[pair] for pair in pairs]

    def _batch(self, samples: Sequence[Sample]) -> dict[str, Any]:
        batch = collate(samples, self._reader.pad_id)
        return {key: batch[key] for key in ("pixel_values", "image_sizes")}


def _asked(conversation: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Question and image of a conversation of one turn, whose `content` is a list of parts with a `type`."""
    (turn,) = conversation
    parts = {part["type"]: part for part in turn["content"]}
    return parts["text"]["text"], parts["image"]["image"]
