"""Models with random weights in the shapes that benchmarks ask for, built once and kept under ``runs/bench``.

``python -m tests.bench.random_model [--shape half-billion]`` builds one ahead of time (minutes). Needs the extra
`training`. Random weights say nothing about quality; they cost the same time as trained ones.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import torch

from inference import prompts
from training.architecture import build_model
from training.export import export_onnx
from training.processor import save_processor
from training.recipe import ModelSize
from training.tokenizer import train_tokenizer
from training.tokens import SPECIALS, special_ids

_FOLDER = Path("runs") / "bench"
SHAPES = {
    "small": ModelSize(vocabulary=1024),
    # Qwen2-0.5B's decoder with a quarter of its vocabulary; the image gives 400 + 420 tokens.
    "half-billion": ModelSize(
        image_size_px=280,
        patch_size_px=14,
        vision_layers=12,
        vision_width=384,
        vision_heads=6,
        vision_mlp=1536,
        language_layers=24,
        language_width=896,
        language_heads=14,
        language_kv_heads=2,
        language_mlp=4864,
        vocabulary=32768,
    ),
}


class RandomModel:
    """Folders of one shape.

    Attributes
    ----------
    checkpoint
        As transformers writes it.
    language
        Its decoder alone, as a causal language model.
    """

    def __init__(self, shape: str) -> None:
        self.size = SHAPES[shape]
        self._folder = _FOLDER / shape
        self.checkpoint = self._folder / "checkpoint"
        self.language = self._folder / "language"
        if not (self.language / "config.json").exists():
            self._write_checkpoint()

    def package(self, precision: str = "fp32") -> Path:
        """Model package for the product, for the CPU."""
        package = self._folder / f"package-{precision}"
        if (package / "manifest.json").exists():
            return package
        return export_onnx(self.checkpoint, package, precision=precision)

    def generator(self, precision: str = "fp32") -> Path:
        """Folder for onnxruntime-genai's own generator."""
        folder = self._folder / f"generator-{precision}"
        if not (folder / "genai_config.json").exists():
            self._build(folder, precision, "prune_lm_head=true")
        return folder

    def _build(self, out: Path, precision: str, *options: str) -> None:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(self.language)]
        command += ["-o", str(out), "-p", precision, "-e", "cpu", "-c", str(self._folder / "cache")]
        subprocess.run([*command, "--extra_options", *options], check=True, capture_output=True)

    def _write_checkpoint(self) -> None:
        texts = [
            prompts.REPORT,
            prompts.CLASSIFICATION,
            prompts.DETECTION,
            prompts.grounding("right lung"),
        ] * 3
        tokenizer = train_tokenizer(texts, self.size.vocabulary)
        torch.manual_seed(7)
        model = build_model(self.size, special_ids(len(tokenizer) - len(SPECIALS)))
        # The usual initialisation is so small that every answer is one token repeated, and equal answers prove nothing.
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1:
                    weight.normal_(std=0.1 if "embed_tokens" in name else 2.0 / weight.shape[-1] ** 0.5)
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(self.checkpoint)
        save_processor(tokenizer, self.size, self.checkpoint)
        self._write_language(model)

    def _write_language(self, model: Any) -> None:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        causal = cast(Any, Qwen2ForCausalLM)(Qwen2Config(**model.config.text_config.to_dict()))
        causal.model.load_state_dict(model.model.language_model.state_dict())
        causal.lm_head.load_state_dict(model.lm_head.state_dict())
        self.language.mkdir(exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.checkpoint / name, self.language / name)
        causal.save_pretrained(self.language)


def main() -> None:
    """Build everything of a shape."""
    parser = argparse.ArgumentParser(description="build a model with random weights for benchmarks")
    parser.add_argument("--shape", choices=SHAPES, default="half-billion")
    model = RandomModel(parser.parse_args().shape)
    for precision in ("fp32", "int4"):
        print(model.package(precision))
        print(model.generator(precision))


if __name__ == "__main__":
    main()
