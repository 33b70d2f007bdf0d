"""Raw label scores of an ONNX package on phantoms, to fit operating points on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

from inference import load_model
from training.evaluation.suite import LABELS
from training.phantoms import displayed, draw

FIRST_FITTING_SEED = 4_000_000
SIZE_PX = 160

Scored = list[tuple[dict[str, float], frozenset[str]]]


def phantom_scores(
    model: str, *, count: int, first_seed: int = FIRST_FITTING_SEED, processes: int = 1
) -> tuple[dict[str, list[float]], list[frozenset[str]]]:
    """Scores by label (one per phantom) and the true labels of each phantom."""
    edges = [first_seed + count * index // processes for index in range(processes + 1)]
    parts = [range(start, stop) for start, stop in pairwise(edges)]
    if processes == 1:
        scored = _score(model, parts[0])
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            scored = [one for part in pool.map(partial(_score, model), parts) for one in part]
    return {label: [scores[label] for scores, _ in scored] for label in LABELS}, [
        truth for _, truth in scored
    ]


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
