"""Text metrics of reports; those whose package or weights are not there say so instead of giving a number.

ROUGE-L as RadVLM computes it (rouge_score 0.1.2, stemmed, mean F); BLEU-4 and CIDEr-D are in `caption_metrics`.
The learned metrics run through RadEval, in a
process of their own that may reach no hub: weights are what a site has put into --weights-dir, a Hugging Face
cache folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

NOT_COMPUTED = "not computed"
LEARNED = ("bertscore", "radgraph", "f1chexbert", "green", "radcliq")
Scored = dict[str, float | str]


def rouge_l(reports: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F1 over (report, reference) pairs, 0 to 1; 0 for none."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [
        scorer.score(reference, report)["rougeL"].fmeasure
        for report, reference in zip(reports, references, strict=True)
    ]
    return float(np.mean(scores)) if scores else 0.0


def learned_metrics(reports: Sequence[str], references: Sequence[str], weights_dir: Path | None) -> Scored:
    """RadGraph, CheXbert, BERTScore, GREEN and RadCliQ: each a number, or why it was not computed."""
    if weights_dir is None:
        return dict.fromkeys(LEARNED, f"{NOT_COMPUTED}: no --weights-dir")
    if find_spec("radeval") is None:
        return dict.fromkeys(LEARNED, f"{NOT_COMPUTED}: the extra radmetrics is not installed")
    scored: Scored = {}
    for metric in LEARNED:
        scored.update(_by_radeval(metric, reports, references, weights_dir))
    return scored


def _by_radeval(metric: str, reports: Sequence[str], references: Sequence[str], weights_dir: Path) -> Scored:
    environment = {
        **os.environ, "HF_HOME": str(weights_dir), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "training.evaluation.radeval_process", metric],
        input=json.dumps({"refs": list(references), "hyps": list(reports)}),
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {metric: f"{NOT_COMPUTED}: {last[:200]}"}
    results = json.loads(done.stdout.splitlines()[-1])
    return {key: float(value) for key, value in results.items() if isinstance(value, int | float)}
