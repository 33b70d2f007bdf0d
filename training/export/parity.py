"""Does a package answer as its checkpoint does? Compared with transformers' own `generate`.

``python -m training.export.parity CHECKPOINT PACKAGE [--phantoms N]`` compares greedy tokens and their probabilities,
prints what differs and exits 1 where anything does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from inference import Model, load_model, prompts

TOLERANCE = 1e-3
_FIRST_SEED = 7_000_000
_QUESTIONS = (
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
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]


class Reference:
    """A checkpoint folder answering through transformers: its processor, its packing, its `generate`."""

    def __init__(self, checkpoint: Path) -> None:
        self._model = LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint)
        self._model.train(False)
        self._processor = AutoImageProcessor.from_pretrained(checkpoint)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint)
        self._image_token = int(self._tokenizer.convert_tokens_to_ids(prompts.IMAGE_TOKEN))
        self._end = int(self._tokenizer.convert_tokens_to_ids(prompts.END_OF_TURN))

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
        scores = torch.stack(out.logits)[:, 0].log_softmax(-1).max(-1).values.tolist()
        count = tokens.index(self._end) if self._end in tokens else len(tokens)
        return Told(tuple(tokens[:count]), tuple(scores[:count]))

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


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found.

    Attributes
    ----------
    largest_difference
        Between the log-probabilities of equal tokens.
    """

    answers: int
    tokens: int
    unequal_answers: int
    largest_difference: float

    @property
    def holds(self) -> bool:
        """Equal tokens everywhere, probabilities within `TOLERANCE`."""
        return self.unequal_answers == 0 and self.largest_difference <= TOLERANCE

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        return (
            f"{self.answers} answers, {self.tokens} tokens: {self.unequal_answers} answers differ, "
            f"largest difference of log-probabilities {self.largest_difference:.1e} (at most {TOLERANCE:.0e})"
        )

    def as_json(self) -> dict[str, float]:
        """What was found, as numbers."""
        return asdict(self)


def compare(
    reference: Reference,
    model: Model,
    images: Iterable[NDArray[np.uint8]],
    questions: Sequence[str] = _QUESTIONS,
    *,
    longest: int = 160,
) -> Parity:
    """Ask both the same questions about the same images."""
    answers = tokens = unequal = 0
    largest = 0.0
    for gray in images:
        said = model.answers(gray, [(question, ()) for question in questions])
        for question, ours in zip(questions, said, strict=True):
            theirs = reference.answer(gray, question, longest=longest)
            equal = ours.tokens[:longest] == theirs.tokens
            answers, tokens, unequal = answers + 1, tokens + len(theirs.tokens), unequal + (not equal)
            if equal and theirs.tokens:
                gap = np.subtract(ours.log_probabilities[:longest], theirs.log_probabilities)
                largest = max(largest, float(np.abs(gap).max()))
    return Parity(answers, tokens, unequal, largest)


def compare_on_phantoms(checkpoint: Path, package: str, count: int, *, threads: int = 1) -> Parity:
    """Compare a package with its checkpoint on `count` phantoms that neither was trained on."""
    from training.phantoms import displayed, draw

    torch.set_num_threads(threads)
    model = load_model(package, threads=threads)
    try:
        images = (displayed(draw(seed, 160)[0]) for seed in range(_FIRST_SEED, _FIRST_SEED + count))
        return compare(Reference(checkpoint), model, images)
    finally:
        model.close()


def main() -> None:
    """Compare a package with its checkpoint on phantoms."""
    parser = argparse.ArgumentParser(description="compare an ONNX package with its checkpoint on phantoms")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("package", help='folder, or "embedded"')
    parser.add_argument("--phantoms", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    found = compare_on_phantoms(
        arguments.checkpoint, arguments.package, arguments.phantoms, threads=arguments.threads
    )
    print(found.sentence)
    raise SystemExit(0 if found.holds else 1)


if __name__ == "__main__":
    main()
