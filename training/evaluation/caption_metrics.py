"""BLEU-4 and CIDEr-D over a set of reports, as RadVLM's evaluation names them; neither needs weights.

Words are what white space divides, in the case they have. One reference per report.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

_LONGEST = 4
_TINY, _SMALL = 1e-15, 1e-9  # keep the reference implementation's quotients from dividing by zero
_LENGTH_SIGMA = 6.0

Ngrams = list[Counter[tuple[str, ...]]]


def _ngrams(words: Sequence[str]) -> Ngrams:
    """Counts of the 1- to 4-grams, by length."""
    return [
        Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
        for length in range(1, _LONGEST + 1)
    ]


def bleu_4(reports: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of 1- to 4-grams, 0 to 1 (Papineni et al., 2002), with COCO's guard against empty counts.

    Counts are summed over the reports before they are divided; 0 for none.
    """
    if not reports:
        return 0.0
    matched, said = [0] * _LONGEST, [0] * _LONGEST
    said_words = meant_words = 0
    for report, reference in zip(reports, references, strict=True):
        words, meant = report.split(), reference.split()
        said_words, meant_words = said_words + len(words), meant_words + len(meant)
        for index, (mine, theirs) in enumerate(zip(_ngrams(words), _ngrams(meant), strict=True)):
            matched[index] += (mine & theirs).total()
            said[index] += mine.total()
    product = math.prod((right + _TINY) / (all_ + _SMALL) for right, all_ in zip(matched, said, strict=True))
    ratio = (said_words + _TINY) / (meant_words + _SMALL)
    return float(product ** (1 / _LONGEST) * (math.exp(1 - 1 / ratio) if ratio < 1 else 1.0))


def cider_d(reports: Sequence[str], references: Sequence[str]) -> float:
    """Mean CIDEr-D over the reports, 0 to 10 (Vedantam et al., arXiv 1411.5726, section 6).

    Rarity of an n-gram is counted over the references given, so a single pair scores 0. The difference of lengths is
    counted in bigrams, as the authors' code does.
    """
    if not reports:
        return 0.0
    meant = [_ngrams(text.split()) for text in references]
    held = Counter(ngram for one in meant for counts in one for ngram in counts)
    most = math.log(len(meant))
    scores = []
    for report, reference in zip(reports, meant, strict=True):
        mine = _ngrams(report.split())
        shorter = math.exp(-((mine[1].total() - reference[1].total()) ** 2) / (2 * _LENGTH_SIGMA**2))
        likeness = [
            _clipped_cosine(_weighted(a, held, most), _weighted(b, held, most))
            for a, b in zip(mine, reference, strict=True)
        ]
        scores.append(10 * shorter * sum(likeness) / _LONGEST)
    return sum(scores) / len(scores)


def _weighted(
    counts: Counter[tuple[str, ...]], held: Counter[tuple[str, ...]], most: float
) -> dict[tuple[str, ...], float]:
    return {ngram: count * (most - math.log(max(1, held[ngram]))) for ngram, count in counts.items()}


def _clipped_cosine(said: dict[tuple[str, ...], float], meant: dict[tuple[str, ...], float]) -> float:
    norms = math.sqrt(sum(v * v for v in said.values())) * math.sqrt(sum(v * v for v in meant.values()))
    shared = sum(min(value, meant[ngram]) * meant[ngram] for ngram, value in said.items() if ngram in meant)
    return shared / norms if norms else 0.0
