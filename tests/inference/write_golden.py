"""Writes ``golden/processor.npz``: what transformers' image processor makes of a few pictures.

Run ``python -m tests.inference.write_golden`` with the extra ``training`` after a deliberate change. The processor is
`LlavaOnevisionImageProcessorPil`, the Pillow one: it works without torchvision, and RadVLM was evaluated with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.inference.checkpoint import PINPOINTS, TILE_PX
from tests.inference.pictures import gray_picture

GOLDEN = Path(__file__).parent / "golden" / "processor.npz"
# Rows x columns of the pictures; one tile, wide, tall, enlarged, reduced, odd, extreme.
SIZES = ((32, 32), (40, 90), (97, 41), (128, 128), (61, 127), (300, 200), (7, 150))


def processor_config(pinpoints: list[list[int]], side_px: int) -> dict[str, Any]:
    """``preprocessor_config.json`` as LLaVA-OneVision checkpoints have it."""
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_grid_pinpoints": pinpoints,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": side_px, "width": side_px},
    }


def transformers_tiles(
    config: dict[str, Any], size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(tiles, 3, S, S) by transformers."""
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    picture = Image.fromarray(gray_picture(*size)).convert("RGB")
    values = LlavaOnevisionImageProcessorPil(**config)(picture, return_tensors="np")["pixel_values"][0]
    return np.asarray(values, dtype=np.float32)


def as_levels(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Normalised tiles (tiles, 3, S, S) as the gray levels (tiles, S, S) they came from."""
    return np.rint((values[:, 0] * 0.5 + 0.5) * 255).astype(np.uint8)


def main() -> None:
    """Write the file."""
    config = processor_config(PINPOINTS, TILE_PX)
    tiles = {f"{size[0]}x{size[1]}": as_levels(transformers_tiles(config, size)) for size in SIZES}
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, allow_pickle=False, **tiles)


if __name__ == "__main__":
    main()
