"""Raw label scores and vision features of an ONNX package on phantoms, to fit operating points and the like on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inference import load_model
from training.evaluation.label_confidence import Confidences
from training.evaluation.onnx_answerer import OnnxAnswerer
from training.phantoms import LABELS, displayed, draw
from training.phantoms.subjects import Subject, draw_subject

FIRST_FITTING_SEED = 4_000_000
SIZE_PX = 160

One = TypeVar("One")
Scored = list[tuple[dict[str, float], frozenset[str]]]


def phantom_scores(
    model: str,
    *,
    count: int,
    first_seed: int = FIRST_FITTING_SEED,
    processes: int = 1,
) -> tuple[dict[str, list[float]], list[frozenset[str]]]:
    """Scores by label (one per phantom) and the true labels of each phantom."""
    scored = _over_seeds(partial(_score, model), count, first_seed, processes)
    return {label: [scores[label] for scores, _ in scored] for label in LABELS}, [
        truth for _, truth in scored
    ]


def phantom_confidences(
    model: str,
    *,
    count: int,
    first_seed: int,
    size_px: int = SIZE_PX,
    processes: int = 1,
) -> Confidences:
    """Calibrated probabilities by label of each phantom, beside what is there."""
    stated = partial(_stated, model, size_px)
    pairs = _over_seeds(stated, count, first_seed, processes)
    return Confidences.of([told for told, _ in pairs], [truth for _, truth in pairs], LABELS)


def _stated(model: str, size_px: int, seeds: range) -> Scored:
    answerer = OnnxAnswerer(model)
    try:
        drawn = (draw(seed, size_px) for seed in seeds)
        return [
            (answerer.label_probabilities(displayed(image)), frozenset(truth.labels))
            for image, truth in drawn
        ]
    finally:
        answerer.close()


def phantom_features(
    model: str,
    *,
    count: int,
    first_seed: int = FIRST_FITTING_SEED,
    subject: Subject = Subject.FRONTAL,
    processes: int = 1,
) -> list[NDArray[np.float32]]:
    """Pooled vision features (width,) of each phantom."""
    return _over_seeds(partial(_features, model, subject), count, first_seed, processes)


def _over_seeds(work: Callable[[range], list[One]], count: int, first_seed: int, processes: int) -> list[One]:
    """Work on ranges of seeds side by side; what it gives, in the order of the seeds."""
    edges = [first_seed + count * index // processes for index in range(processes + 1)]
    parts = [range(start, stop) for start, stop in pairwise(edges)]
    if processes == 1:
        return work(parts[0])
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return [one for part in pool.map(work, parts) for one in part]


def _features(model: str, subject: Subject, seeds: range) -> list[NDArray[np.float32]]:
    served = load_model(model)
    try:
        drawn = (draw_subject(seed, SIZE_PX, subject)[0] for seed in seeds)
        found = [served.pooled_features(displayed(image)) for image in drawn]
        return [features for features in found if features is not None]
    finally:
        served.close()


def _score(model: str, seeds: range) -> Scored:
    served = load_model(model)
    scored: Scored = []
    try:
        for seed in seeds:
            pixels, truth = draw(seed, SIZE_PX)
            found = served.read(displayed(pixels)).findings
            scored.append(({f.label.name: f.score.raw for f in found if f.score}, frozenset(truth.labels)))
    finally:
        served.close()
    return scored
