"""Raw label scores of an ONNX package on phantoms, to fit operating points on."""

from __future__ import annotations

from collections.abc import Callable

from inference import load_model
from training.evaluation.suite import LABELS
from training.phantoms import displayed, draw

FIRST_FITTING_SEED = 4_000_000


def phantom_scores(
    model: str,
    *,
    count: int,
    first_seed: int = FIRST_FITTING_SEED,
    size_px: int = 160,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, list[float]], list[frozenset[str]]]:
    """Scores by label (one per phantom) and the true labels of each phantom."""
    served = load_model(model)
    scores: dict[str, list[float]] = {label: [] for label in LABELS}
    truth: list[frozenset[str]] = []
    try:
        for done, seed in enumerate(range(first_seed, first_seed + count), start=1):
            pixels, seen = draw(seed, size_px)
            found = {f.label.name: f.score.raw for f in served.read(displayed(pixels)).findings if f.score}
            for label in LABELS:
                scores[label].append(found[label])
            truth.append(frozenset(seen.labels))
            if progress:
                progress(done)
    finally:
        served.close()
    return scores, truth
