"""The decoder as an ONNX graph: GroupQueryAttention on shared buffers, logits of the last row only.

onnxruntime-genai's model builder writes it, in a process of its own, from a folder that holds the decoder alone. The
weights go through memory layer by layer: once into that folder, then mapped, converted and written by the builder, and
matrices of 8 or 4 bits matrix by matrix from what it wrote.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from clinical import ComputeDevice, Permanent, Precision
from training.export.checkpoint import Checkpoint
from training.export.precisions import Layout
from training.export.quantised_graph import quantise_graph

GRAPH = "decoder.onnx"
_WEIGHTS = f"{GRAPH}.data"
_LAYER = re.compile(r"(model\.layers\.\d+)\..+")
_PR_SET_PDEATHSIG = 1


def export_decoder(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    keys: Mapping[str, str],
    tokenizer: Path,
    layout: Layout,
    folder: Path,
    *,
    scratch: Path,
    progress: Callable[[str], None] = lambda step: None,
) -> None:
    """Write ``decoder.onnx`` and its weights into `folder`.

    Parameters
    ----------
    config, keys
        As `training.export.families.ModelFamily.language` gives them.
    tokenizer
        The tokenizer's file; the builder asks for one.
    scratch
        Empty folder on the same file system; holds the decoder twice for a while.

    Raises
    ------
    Permanent
        ``export-failed`` with the builder's last words.
    """
    language, built = scratch / "language", scratch / "built"
    language.mkdir()
    _write_language(checkpoint, config, keys, language, progress)
    shutil.copy(tokenizer, language / "tokenizer.json")
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (language / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), encoding="utf-8")
    progress(f"building the {layout.built} decoder")
    done = subprocess.run(
        builder_command(language, built, layout.built, layout.builder_device, scratch / "cache"),
        capture_output=True,
        text=True,
        check=False,
        # Nothing is to be fetched, and a killed export must not leave a builder at work.
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        preexec_fn=_die_with_parent,
    )
    if done.returncode != 0:
        words = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise Permanent("export-failed", f"the model builder could not write the decoder: {words}")
    if layout.bits is not None and layout.block is not None:
        on_cpu = layout.device is ComputeDevice.CPU
        quantise_graph(
            built / GRAPH, folder / GRAPH, layout.bits, layout.block, int8_products=on_cpu, progress=progress
        )
        return
    for name in (GRAPH, _WEIGHTS):
        (built / name).rename(folder / name)


def builder_command(
    language: Path, built: Path, precision: Precision, device: ComputeDevice, cache: Path
) -> list[str]:
    """The model builder's command line for a folder that holds the decoder alone."""
    command = [
        sys.executable,
        "-m",
        "onnxruntime_genai.models.builder",
        "-i",
        str(language),
        "-o",
        str(built),
    ]
    command += ["-p", precision.value, "-e", device.value, "-c", str(cache)]
    return [*command, "--extra_options", "exclude_embeds=true", "prune_lm_head=true", f"filename={GRAPH}"]


def opset_of(path: Path) -> int:
    """Version of the ONNX operators a graph is written in."""
    import onnx

    imports = onnx.load(path, load_external_data=False).opset_import
    return max(int(entry.version) for entry in imports if entry.domain in ("", "ai.onnx"))


def _write_language(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    keys: Mapping[str, str],
    folder: Path,
    progress: Callable[[str], None],
) -> None:
    """The decoder alone as a folder of transformers, one file per layer."""
    groups: dict[str, dict[str, str]] = {}
    for name, key in keys.items():
        layer = _LAYER.fullmatch(name)
        groups.setdefault(layer.group(1) if layer else name, {})[name] = key
    placed: dict[str, str] = {}
    for number, names in enumerate(groups.values(), start=1):
        progress(f"reading weights, part {number} of {len(groups)}")
        file = f"part-{number:05d}.safetensors"
        tensors = {name: checkpoint.tensor(key).contiguous() for name, key in names.items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")


def _die_with_parent() -> None:
    """Ask the kernel to end this process with its parent (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
