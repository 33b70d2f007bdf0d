"""Text metrics of reports; those whose package or weights are not there say so instead of giving a number.

BLEU, ROUGE (rouge_score 0.1.2, stemmed, mean F) and CIDEr as RadVLM computes them. The learned metrics run through
RadEval, in a process of their own that may reach no hub: weights are what a site has put into --weights-dir, which
stands for both the Hugging Face cache and the user's cache folder that CheXbert and RadGraph look into.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from training.evaluation.caption_metrics import bleu_4, cider_d

NOT_COMPUTED = "not computed"
_ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
LEARNED = {
    "bertscore": ("bertscore",),
    "radgraph": ("radgraph_simple", "radgraph_partial", "radgraph_complete"),
    "f1chexbert": (
        "f1chexbert_all_micro_f1", "f1chexbert_all_macro_f1", "f1chexbert_5_micro_f1", "f1chexbert_5_macro_f1",
    ),
    "green": ("green",),
    "radcliq": ("radcliq_v1",),
}  # fmt: skip
"""RadEval's metrics and what each of them gives."""
Scored = dict[str, float | str]


def text_metrics(reports: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU-4, ROUGE-1, -2 and -L (0 to 1) and CIDEr-D (0 to 10) of reports against their references."""
    return {
        "bleu_4": bleu_4(reports, references),
        **_rouge(reports, references),
        "cider_d": cider_d(reports, references),
    }


def _rouge(reports: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of each kind over the pairs; 0 for none."""
    scorer = RougeScorer(list(_ROUGE), use_stemmer=True)
    pairs = [scorer.score(reference, report) for report, reference in zip(reports, references, strict=True)]
    return {
        name: float(np.mean([pair[kind].fmeasure for pair in pairs])) if pairs else 0.0
        for kind, name in _ROUGE.items()
    }


def learned_metrics(reports: Sequence[str], references: Sequence[str], weights_dir: Path | None) -> Scored:
    """RadGraph, CheXbert, BERTScore, GREEN and RadCliQ: each a number, or why it was not computed."""
    if weights_dir is None:
        return _missing(LEARNED, "no --weights-dir")
    if find_spec("radeval") is None:
        return _missing(LEARNED, "the extra radmetrics is not installed")
    scored: Scored = {}
    for metric in LEARNED:
        scored.update(_by_radeval(metric, reports, references, weights_dir))
    return scored


def _missing(metrics: Iterable[str], why: str) -> Scored:
    return {key: f"{NOT_COMPUTED}: {why}" for metric in metrics for key in LEARNED[metric]}


def _by_radeval(metric: str, reports: Sequence[str], references: Sequence[str], weights_dir: Path) -> Scored:
    environment = {
        **os.environ, "HF_HOME": str(weights_dir), "XDG_CACHE_HOME": str(weights_dir),
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "training.evaluation.radeval_process", metric],
        input=json.dumps({"refs": list(references), "hyps": list(reports)}),
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return _missing([metric], last[:200])
    results = json.loads(done.stdout.splitlines()[-1])
    return {key: float(results[key]) for key in LEARNED[metric]}
