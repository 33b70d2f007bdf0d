"""The parts of RadVLM's instruction data: where each comes from, how often it is repeated, how many there were.

Counts are those the authors published with the data set (1,115,021 rows for training); a site compares its
own with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from random import Random

from training.datasets import chexpert, conversations, imagenome, mimic, ms_cxr, padchest, vindr
from training.datasets.example import Example
from training.task import Task


class Root(StrEnum):
    """The archives a site has to have, each at a path of its own."""

    MIMIC = "mimic"
    CHEXPERT = "chexpert"
    CHEXPERT_PLUS = "chexpert-plus"
    IMAGENOME = "imagenome"
    MS_CXR = "ms-cxr"
    VINDR = "vindr"
    PADCHEST = "padchest"


Roots = dict[Root, Path]


@dataclass(frozen=True, slots=True)
class Part:
    """One row of the published composition.

    Parameters
    ----------
    name
        Prefix of the rows' ids in RadVLM's files, without the number of the repetition.
    repeats
        How often the part stands in the training data, each time in other words.
    published_pairs, published_eval
        Rows for training before repetition, and samples of the published evaluation; None where none was given.
    drawn
        How many examples are drawn at random from all there are; None takes all.
    """

    name: str
    task: Task
    source: str
    roots: tuple[Root, ...]
    examples: Callable[[Roots, str, bool], Iterator[Example]]
    repeats: int
    published_pairs: int
    published_eval: int | None = None
    drawn: int | None = None


def _training(
    read: Callable[[Roots, str], Iterator[Example]],
) -> Callable[[Roots, str, bool], Iterator[Example]]:
    """Training takes train and validation split of the two phrase sets, as RadVLM did."""

    def examples(roots: Roots, split: str, _compat: bool) -> Iterator[Example]:
        splits = ("train", "valid") if split == "train" else (split,)
        return chain.from_iterable(read(roots, one) for one in splits)

    return examples


PARTS: tuple[Part, ...] = (
    Part(
        "mimic-train", Task.REPORT, "MIMIC-CXR", (Root.MIMIC,),
        lambda roots, split, _: mimic.reports(roots[Root.MIMIC], split), 1, 230_980, 3_314,
    ),
    Part(
        "chexpertplus-train", Task.REPORT, "CheXpert-Plus", (Root.CHEXPERT_PLUS,),
        lambda roots, split, _: chexpert.plus_reports(roots[Root.CHEXPERT_PLUS], split), 1, 186_463,
    ),
    Part(
        "mimic-labels-train", Task.CLASSIFICATION, "MIMIC-CXR", (Root.MIMIC,),
        lambda roots, split, _: mimic.classifications(roots[Root.MIMIC], split), 1, 237_912,
    ),
    Part(
        "chexpert-train", Task.CLASSIFICATION, "CheXpert", (Root.CHEXPERT,),
        lambda roots, split, _: chexpert.classifications(roots[Root.CHEXPERT], split), 1, 191_027, 518,
    ),
    Part(
        "chestima-train", Task.ANATOMY, "Chest ImaGenome", (Root.IMAGENOME, Root.MIMIC),
        lambda roots, split, _: imagenome.regions(roots[Root.IMAGENOME], roots[Root.MIMIC], split),
        1, 80_000, 2_000, drawn=80_000,
    ),
    Part(
        "vindr-cxr-mono-train", Task.ABNORMALITY, "VinDr-CXR", (Root.VINDR,),
        lambda roots, split, compat: vindr.abnormalities(roots[Root.VINDR], split, radvlm_compat=compat),
        3, 16_089, 2_108,
    ),
    Part(
        "vindr-cxr-train", Task.DETECTION, "VinDr-CXR", (Root.VINDR,),
        lambda roots, split, compat: vindr.detections(roots[Root.VINDR], split, radvlm_compat=compat),
        2, 15_000,
    ),
    Part(
        "mscxr-train", Task.PHRASE, "MS-CXR", (Root.MS_CXR, Root.MIMIC),
        _training(lambda roots, split: ms_cxr.phrases(roots[Root.MS_CXR], roots[Root.MIMIC], split)),
        3, 971, 189,
    ),
    Part(
        "padchest-train", Task.PHRASE, "PadChest-GR", (Root.PADCHEST,),
        _training(lambda roots, split: padchest.phrases(roots[Root.PADCHEST], split)), 2, 4_478,
    ),
    Part(
        "conv-train", Task.CONVERSATION, "MIMIC-CXR", (Root.MIMIC,),
        lambda roots, split, _: conversations.plain(roots[Root.MIMIC], split), 1, 86_155, 500,
    ),
    Part(
        "conv-grounded-train", Task.CONVERSATION, "MS-CXR", (Root.MIMIC,),
        lambda roots, split, _: conversations.grounded(roots[Root.MIMIC], split), 4, 862, 155,
    ),
    Part(
        "conv-grounded-padchest-train", Task.CONVERSATION, "PadChest-GR", (Root.PADCHEST,),
        _training(lambda roots, split: conversations.grounded_padchest(roots[Root.PADCHEST], split)),
        4, 2_225,
    ),
)  # fmt: skip
PUBLISHED_ROWS = sum(part.published_pairs * part.repeats for part in PARTS)


def examples_of(
    part: Part, roots: Roots, split: str, *, radvlm_compat: bool = False, seed: int = 0
) -> Iterator[Example]:
    """Examples of one part; where only some are drawn in training, the same ones for the same seed."""
    found = part.examples(roots, split, radvlm_compat)
    if part.drawn is None or split != "train":
        return found
    return _drawn(found, part.drawn, seed)


def _drawn(examples: Iterator[Example], count: int, seed: int) -> Iterator[Example]:
    """Reservoir of `count` examples (Vitter's algorithm R), in the data set's own order."""
    rng = Random(seed)
    kept: list[tuple[int, Example]] = []
    for index, example in enumerate(examples):
        if index < count:
            kept.append((index, example))
        elif (place := rng.randrange(index + 1)) < count:
            kept[place] = (index, example)
    return (example for _, example in sorted(kept, key=lambda pair: pair[0]))
