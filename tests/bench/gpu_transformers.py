"""transformers beside the engine: a random model of the same shape, on the same device, asked the same questions.

Needs torch for that device and transformers. The weights are other random numbers: they cost the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from inference import prompts
from inference.processor import Processor
from tests.bench.random_package import PackageShape

_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class Transformers:
    """A random `LlavaOnevisionForConditionalGeneration` on a device, and one picture for it."""

    def __init__(self, folder: Path, shape: PackageShape, device: str, gray: Any) -> None:
        from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

        torch.set_default_dtype(_DTYPES[shape.decoder.precision])
        config = LlavaOnevisionConfig(**json.loads((folder / "config.json").read_text()))
        with torch.device(device):
            model: Any = LlavaOnevisionForConditionalGeneration(config)
        torch.set_default_dtype(torch.float32)
        model.generation_config.eos_token_id = None
        self.model = model.train(False)
        self.device = device
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tiles = Processor.from_package(folder).tiles(gray)
        dtype = _DTYPES[shape.decoder.precision]
        self._pixels = torch.from_numpy(tiles.pixel_values)[None].to(device, dtype)
        self._sizes = torch.tensor([tiles.image], device=device)

    def ids(self, question: str, image_tokens: int) -> torch.Tensor:
        """A prompt with the image's tokens in it."""
        parts = prompts.first_turn(question).split(prompts.IMAGE_TOKEN)
        before, after = (self._tokenizer.encode(part, add_special_tokens=False).ids for part in parts)
        image = self.model.config.image_token_id
        return torch.tensor([[*before, *[image] * image_tokens, *after]], device=self.device)

    @torch.no_grad()
    def answer_s(self, question: str, image_tokens: int, tokens: int) -> float:
        """Seconds of one `generate` that reads the image and writes `tokens`."""
        ids = self.ids(question, image_tokens)
        start = time.perf_counter()
        found = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=self._pixels,
            image_sizes=self._sizes,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )
        found.cpu()  # waits for the device
        return time.perf_counter() - start


def compare(folder: Path, shape: PackageShape, image_tokens: int, arguments: argparse.Namespace) -> None:
    """Measure and print."""
    from tests.bench.gpu import QUESTIONS, pictures

    if arguments.provider == "cuda" and not torch.cuda.is_available():
        print("transformers: not measured, torch has no CUDA here")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    theirs = Transformers(folder, shape, arguments.provider, pictures(shape, 1)[0])
    theirs.answer_s(prompts.REPORT, image_tokens, 2)  # warms up
    few = statistics.median(theirs.answer_s(prompts.REPORT, image_tokens, 2) for _ in range(3))
    more = 2 + arguments.steps
    many = statistics.median(theirs.answer_s(prompts.REPORT, image_tokens, more) for _ in range(3))
    step_ms = 1000 * (many - few) / arguments.steps
    print(f"transformers {shape.decoder.precision}: vision and prefill {few:.2f} s, decode, batch 1:")
    print(f"  {step_ms:.2f} ms a step, {1000 / step_ms:.0f} tokens/s")
    start = time.perf_counter()
    for question, tokens in QUESTIONS:
        theirs.answer_s(question, image_tokens, tokens)
    print(f"  one reading, a `generate` for each question: {time.perf_counter() - start:.2f} s")
