"""An ONNX package as an `Answerer`, through the very code that serves it; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference import load_model
from training.evaluation.suite import Asked


class OnnxAnswerer:
    """Greedy answers of a model package ("embedded" or a folder)."""

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        self._model = load_model(model, threads=threads)

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answers in the order asked, whether or not the manifest serves the task."""
        said = self._model.answers(image, [(one.question, one.history) for one in asked])
        return [generation.text for generation in said]

    def close(self) -> None:
        """End the engine."""
        self._model.close()
