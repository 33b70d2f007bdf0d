"""A model measured on this machine: seconds by stage, and what fewer image tokens cost in agreement."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from clinical import Box, Reading
from inference import Model, TokenEconomy

_TILES = (6, 4, 2, 1)
_SIDES_PX = (1024, 768, 512, 384, 256, 128)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How readings under a token economy compare with those of the full setting.

    Attributes
    ----------
    image_tokens, reading_s
        Medians.
    same_presence
        Share of labels called alike, 0 to 1.
    same_report
        Share of reports with the same words.
    overlap
        Mean intersection over union of boxes that both have; None where there are none.
    """

    setting: str
    image_tokens: float
    reading_s: float
    same_presence: float
    same_report: float
    overlap: float | None


def economies(model: Model, pixels: Sequence[NDArray[np.uint8]]) -> list[Agreement]:
    """The full setting, then every one that makes fewer tokens of these images than the one before it."""
    full, full_s = _readings(model, pixels, None)
    found = [_agreement("full", model, pixels, None, full, full, full_s)]
    for options in (*({"max_tiles": n} for n in _TILES), *({"downscale_to": n} for n in _SIDES_PX)):
        economy = TokenEconomy(**options)
        if not any(_changes(model, image, economy) for image in pixels):
            continue
        name = ", ".join(f"{key} = {value}" for key, value in options.items())
        read, taken_s = _readings(model, pixels, economy)
        found.append(_agreement(name, model, pixels, economy, read, full, taken_s))
    return found


def measured(model: Model, pixels: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Seconds by stage, readings a second, memory."""
    read, taken_s = _readings(model, pixels, None)
    stages: dict[str, list[float]] = defaultdict(list)
    for reading in read:
        for name, seconds in reading.stage_s:
            stages[name].append(seconds)
    # Other images than before: an image that was read is still in the cache.
    others = [np.ascontiguousarray(image[:, ::-1]) for image in pixels]
    start = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(model.read, others))
    together_s = time.perf_counter() - start
    return {
        "engine": model.identity.engine,
        "precision": model.identity.precision,
        "readings": len(pixels),
        "image_tokens": statistics.median(model.image_tokens(image) for image in pixels),
        "reading_s": round(statistics.median(taken_s), 3),
        "slowest_s": round(max(taken_s), 3),
        **{f"{name}_s": round(statistics.median(values), 3) for name, values in stages.items()},
        "readings_per_s": round(len(pixels) / sum(taken_s), 2),
        "readings_per_s_4_at_once": round(len(others) / together_s, 2),
        "cache_mib": round(model.cache_bytes / 2**20, 1),
        "resident_mib": round(psutil.Process().memory_info().rss / 2**20),
    }


def _readings(
    model: Model, pixels: Sequence[NDArray[np.uint8]], economy: TokenEconomy | None
) -> tuple[list[Reading], list[float]]:
    found, taken_s = [], []
    for image in pixels:
        start = time.perf_counter()
        found.append(model.read(image, economy=economy))
        taken_s.append(time.perf_counter() - start)
    return found, taken_s


def _changes(model: Model, image: NDArray[np.uint8], economy: TokenEconomy) -> bool:
    if economy.downscale_to is not None:
        return bool(max(image.shape) > economy.downscale_to)
    return model.image_tokens(image, economy) < model.image_tokens(image)


def _agreement(
    name: str,
    model: Model,
    pixels: Sequence[NDArray[np.uint8]],
    economy: TokenEconomy | None,
    read: Sequence[Reading],
    full: Sequence[Reading],
    taken_s: Sequence[float],
) -> Agreement:
    alike = [
        there.get(label) == presence
        for one, other in zip(read, full, strict=True)
        for there in [_presences(other)]
        for label, presence in _presences(one).items()
    ]
    reports = [_report(one) == _report(other) for one, other in zip(read, full, strict=True)]
    overlaps = [
        overlap(boxes[0], others[0])
        for one, other in zip(read, full, strict=True)
        for label, boxes in _boxes(one).items()
        for others in [_boxes(other).get(label, ())]
        if others
    ]
    return Agreement(
        setting=name,
        image_tokens=statistics.median(model.image_tokens(image, economy) for image in pixels),
        reading_s=round(statistics.median(taken_s), 3),
        same_presence=round(statistics.mean(alike), 3) if alike else 1.0,
        same_report=round(statistics.mean(reports), 3),
        overlap=round(statistics.mean(overlaps), 3) if overlaps else None,
    )


def _presences(reading: Reading) -> dict[str, str]:
    return {finding.label.name: finding.presence.value for finding in reading.findings}


def _boxes(reading: Reading) -> dict[str, tuple[Box, ...]]:
    return {f.label.name: tuple(b.box_px for b in f.boxes) for f in reading.findings if f.boxes}


def _report(reading: Reading) -> str:
    return " ".join(sentence.text for sentence in reading.sentences)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one.area_px2 + other.area_px2 - shared)
