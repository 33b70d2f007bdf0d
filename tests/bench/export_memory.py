"""Peak memory of an export, by precision and device, over the exporting process and the model builder together.

``python -m tests.bench.export_memory [--width 896 --layers 24] [--layouts fp16-cuda int8-cpu]`` writes a random fp16
checkpoint of Qwen2-0.5B's decoder in several shards under ``runs/bench`` and exports it. Mapped pages of the checkpoint
count as memory, though the kernel may drop them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from inference import prompts
from training.architecture import build_model
from training.processor import save_processor
from training.recipe import ModelSize
from training.tokenizer import train_tokenizer
from training.tokens import SPECIALS, special_ids

_FOLDER = Path("runs") / "bench" / "export"
_VOCABULARY = 151936
_LAYOUTS = ("fp32-cpu", "fp16-cuda", "bf16-cuda", "int8-cuda", "int8-cpu", "int4-cuda", "int4-cpu")


def _checkpoint(width: int, layers: int) -> Path:
    folder = _FOLDER / f"checkpoint-{width}-{layers}"
    if (folder / "model.safetensors.index.json").is_file():
        return folder
    size = ModelSize(
        image_size_px=280,
        patch_size_px=14,
        vision_layers=12,
        vision_width=384,
        vision_heads=6,
        vision_mlp=1536,
        language_layers=layers,
        language_width=width,
        language_heads=width // 64,
        language_kv_heads=2,
        language_mlp=width * 38 // 7,
        vocabulary=_VOCABULARY,
    )
    tokenizer = train_tokenizer([prompts.REPORT] * 3, size.vocabulary)
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float16)
    model = build_model(size, special_ids(len(tokenizer) - len(SPECIALS)))
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size="300MB")
    save_processor(tokenizer, size, folder)
    return folder


def _peak_bytes(command: list[str]) -> tuple[int, float]:
    """Largest sum of proportional set sizes of a process and its children, and seconds."""
    started = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        total = 0
        with suppress(psutil.Error):
            for member in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    total += member.memory_full_info().pss
        peak = max(peak, total)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"the export ended with status {process.returncode}")
    return peak, time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="peak memory of an export by precision")
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--layouts", nargs="+", choices=_LAYOUTS, default=_LAYOUTS)
    arguments = parser.parse_args()
    checkpoint = _checkpoint(arguments.width, arguments.layers)
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    shards = len(list(checkpoint.glob("*.safetensors")))
    print(f"checkpoint of {size / 1e9:.2f} GB in {shards} files, fp16", flush=True)
    for layout in arguments.layouts:
        precision, device = layout.split("-")
        out = _FOLDER / "package"
        shutil.rmtree(out, ignore_errors=True)
        command = [
            sys.executable,
            "-c",
            "import raddraft; raddraft.main()",
            "model",
            "export",
            str(checkpoint),
        ]
        command += ["--out", str(out), "--precision", precision, "--device", device]
        peak, seconds = _peak_bytes(command)
        print(
            f"{layout}: peak {peak / 1e9:.2f} GB, {peak / size:.2f} of the checkpoint, {seconds:.0f} s",
            flush=True,
        )
    shutil.rmtree(_FOLDER / "package", ignore_errors=True)


if __name__ == "__main__":
    main()
