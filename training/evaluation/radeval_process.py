"""`python -m training.evaluation.radeval_process METRIC`: one learned metric; reads and writes JSON.

A process of its own, because the offline switches of the model hub are read when its library is imported, and
because each of these models fills gigabytes that are given back when the process ends.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    """Score `{"refs": [...], "hyps": [...]}` from standard input; the last line printed is the result."""
    texts = json.load(sys.stdin)
    evaluator = import_module("radeval.radeval").RadEval(metrics=[sys.argv[1]], show_progress=False)
    print(json.dumps(evaluator(refs=texts["refs"], hyps=texts["hyps"])))


if __name__ == "__main__":
    main()
