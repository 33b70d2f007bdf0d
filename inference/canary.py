"""The daily trial: whether the gate still refuses what is no image, and whether the model still looks at the picture.

Language models of this kind can answer from the question alone: one tuned on text kept 81 % of its accuracy with the
images blank (arXiv 2603.03437). So a model is asked about images whose findings are known, about nothing, and about the
same images in pieces; its answers must be right, and must change with the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from clinical import CheckResult, CheckStatus
from imaging import DisplayedImage
from inference.gate import gate_pixels
from inference.known_images import KnownImage, with_known_labels
from inference.model import Model

_VERSION = "1"
_SIDE_PX = 256
_PIECES_PER_SIDE = 4
# Mean change of the named findings, 0 to 1. A model that keeps four of five answers on a blank image stays below it.
_LEAST_CHANGE = 0.25


def canary_checks(
    model: Model, known: Sequence[KnownImage], *, lowest: float, deadline_s: float | None = None
) -> tuple[CheckResult, ...]:
    """The trial's three checks.

    Parameters
    ----------
    known
        Images with known findings; without any, only the gate is tried.
    lowest
        Balanced accuracy on them below which the trial fails; 0.5 is what any constant answer reaches.
    deadline_s
        Longest time for one image.

    Raises
    ------
    RadDraftError
        As `Model.called_present` does: the trial says nothing then.
    """
    named = partial(model.called_present, deadline_s=deadline_s)
    blank = np.full((_SIDE_PX, _SIDE_PX), 128, dtype=np.uint8)
    found = [_gate_check(blank)]
    if not known:
        missing = "the model package ships no images with known findings, and checks.canary_images names none"
        return (
            *found,
            CheckResult("canary-known-images", _VERSION, CheckStatus.NOT_RUN, missing),
            CheckResult("canary-image-dependence", _VERSION, CheckStatus.NOT_RUN, missing),
        )
    known = [with_known_labels(image, model.manifest.labels) for image in known]
    called = [named(image.pixels) for image in known]
    changes = []
    on_blank = named(blank)
    for image, said in zip(known, called, strict=True):
        if said:
            changes += [_change(said, on_blank), _change(said, named(_in_pieces(image.pixels)))]
    return (*found, _known_check(known, called, lowest), _dependence_check(changes))


def _gate_check(blank: NDArray[np.uint8]) -> CheckResult:
    noise = np.random.default_rng(0).integers(0, 256, blank.shape, dtype=np.uint8)
    pictures = {"a blank picture": blank, "noise": noise}
    passed = [name for name, pixels in pictures.items() if gate_pixels(DisplayedImage(pixels)).accepted]
    status = CheckStatus.FAIL if passed else CheckStatus.PASS
    evidence = f"the gate lets through {', '.join(passed)}" if passed else "the gate refuses blank and noise"
    return CheckResult("canary-gate", _VERSION, status, evidence)


def _known_check(known: Sequence[KnownImage], called: Sequence[frozenset[str]], lowest: float) -> CheckResult:
    there = [label in said for image, said in zip(known, called, strict=True) for label in image.present]
    not_there = [
        label not in said for image, said in zip(known, called, strict=True) for label in image.absent
    ]
    shares = [mean(calls) for calls in (there, not_there) if calls]
    score = round(float(mean(shares)), 3) if shares else 0.0
    evidence = (
        f"{sum(there)} of {len(there)} known findings named, {len(not_there) - sum(not_there)} of "
        f"{len(not_there)} absent ones named wrongly; {lowest} balanced is the least"
    )
    status = CheckStatus.PASS if score >= lowest else CheckStatus.FAIL
    return CheckResult("canary-known-images", _VERSION, status, evidence, score)


def _dependence_check(changes: Sequence[float]) -> CheckResult:
    name = "canary-image-dependence"
    if not changes:
        return CheckResult(name, _VERSION, CheckStatus.NOT_RUN, "no finding was named on any known image")
    score = round(mean(changes), 3)
    status = CheckStatus.PASS if score >= _LEAST_CHANGE else CheckStatus.FAIL
    evidence = f"{score:.0%} of the named findings change with a blank picture or one in pieces"
    return CheckResult(name, _VERSION, status, evidence, score)


def _change(said: frozenset[str], instead: frozenset[str]) -> float:
    """Share of the labels named either time that were not named both times."""
    return 1 - len(said & instead) / len(said | instead)


def _in_pieces(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its 16 pieces in another order, the same every time."""
    rows, columns = (side - side % _PIECES_PER_SIDE for side in pixels.shape)
    high, wide = rows // _PIECES_PER_SIDE, columns // _PIECES_PER_SIDE
    cut = pixels[:rows, :columns].reshape(_PIECES_PER_SIDE, high, _PIECES_PER_SIDE, wide).swapaxes(1, 2)
    order = np.random.default_rng(0).permutation(_PIECES_PER_SIDE**2)
    mixed = cut.reshape(-1, high, wide)[order].reshape(cut.shape).swapaxes(1, 2)
    return np.ascontiguousarray(mixed.reshape(rows, columns))
