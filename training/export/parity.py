"""A checkpoint's own answers, by transformers' own processor, packing and `generate`: what a package is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from clinical import Permanent
from inference import open_package, prompts
from inference.golden import Golden, GoldenAnswer
from training.export.checkpoint import Checkpoint

_CANDIDATES = 8
_FIRST_SEED = 7_000_000
QUESTIONS = (
    prompts.REPORT,
    prompts.CLASSIFICATION,
    prompts.grounding("left lung"),
    prompts.DETECTION,
)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as transformers gives it.

    Attributes
    ----------
    tokens
        Without the end of turn.
    log_probabilities
        Of each token.
    candidates
        The likeliest tokens of each step and their log-probabilities, the end of turn's step included.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    candidates: tuple[tuple[tuple[int, float], ...], ...] = ()


class Reference:
    """A checkpoint folder answering through transformers: its processor, its packing, its `generate`.

    In fp32, whatever the checkpoint is stored in: the truth that every precision is measured against.

    Attributes
    ----------
    ends
        Tokens that end an answer.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._model = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        self._model.train(False)
        self._processor = AutoImageProcessor.from_pretrained(checkpoint)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint)
        self._image_token = int(self._tokenizer.convert_tokens_to_ids(prompts.IMAGE_TOKEN))
        self._end = int(self._tokenizer.convert_tokens_to_ids(prompts.END_OF_TURN))
        self.ends = (self._end,)

    @torch.no_grad()
    def answer(self, gray: NDArray[np.uint8], question: str, *, longest: int) -> Told:
        """Greedy answer about a displayed image (rows, columns)."""
        image = self._processor(Image.fromarray(gray).convert("RGB"), return_tensors="pt")
        before, after = prompts.first_turn(question).split(prompts.IMAGE_TOKEN)
        ids = [*self._ids(before), *[self._image_token] * self._count(image), *self._ids(after)]
        out = cast(Any, self._model).generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
            pixel_values=image["pixel_values"],
            image_sizes=image["image_sizes"],
            max_new_tokens=longest,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = out.sequences[0, len(ids) :].tolist()
        likeliest = torch.stack(out.logits)[:, 0].log_softmax(-1).topk(_CANDIDATES)
        steps = [
            tuple(zip(step, chances, strict=True))
            for step, chances in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ]
        count = tokens.index(self._end) if self._end in tokens else len(tokens)
        scores = [step[0][1] for step in steps]
        return Told(tuple(tokens[:count]), tuple(scores[:count]), tuple(steps[: count + 1]))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _count(self, image: Any) -> int:
        """Image tokens after packing, as transformers counts them."""
        found = cast(Any, self._model.model).get_image_features(
            pixel_values=image["pixel_values"],
            image_sizes=image["image_sizes"],
            vision_aspect_ratio=self._model.config.vision_aspect_ratio,
        )
        return sum(len(part) for part in getattr(found, "pooler_output", found))


def golden_answers(
    reference: Reference,
    images: Iterable[NDArray[np.uint8]],
    questions: Sequence[str] = QUESTIONS,
    *,
    longest: int = 160,
    progress: Callable[[str], None] = lambda step: None,
) -> Golden:
    """Let the checkpoint answer every question about every image."""
    kept = tuple(images)
    answers: list[GoldenAnswer] = []
    for index, gray in enumerate(kept):
        for question in questions:
            progress(f"the checkpoint answers {len(answers) + 1} of {len(kept) * len(questions)}")
            told = reference.answer(gray, question, longest=longest)
            answers.append(
                GoldenAnswer(index, question, told.tokens, told.log_probabilities, told.candidates)
            )
    return Golden(kept, tuple(answers), longest, reference.ends)


def golden_of(
    checkpoint: Path, package: str, phantoms: int, *, progress: Callable[[str], None] = lambda step: None
) -> Golden:
    """A checkpoint's answers about phantoms that neither it nor anybody was trained on.

    Raises
    ------
    Permanent
        ``other-checkpoint`` if the package was made of another one.
    """
    from training.phantoms import displayed, draw

    known = open_package(package).manifest.checkpoint_sha256
    if known and known != Checkpoint(checkpoint).sha256:
        raise Permanent(
            "other-checkpoint", f"{package} was exported from another checkpoint than {checkpoint}"
        )
    progress("loading the checkpoint")
    reference = Reference(checkpoint)
    images = (displayed(draw(seed, 160)[0]) for seed in range(_FIRST_SEED, _FIRST_SEED + phantoms))
    return golden_answers(reference, images, progress=progress)
