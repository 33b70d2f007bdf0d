"""An ONNX package as an `Answerer`, through the very code that serves it; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference import load_model, open_package
from inference.loading import calibration_of
from training.evaluation.suite import Asked


class OnnxAnswerer:
    """Greedy answers of a model package ("embedded" or a folder)."""

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        self._model = load_model(model, threads=threads)
        self._calibration = calibration_of(open_package(model), None)

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answers in the order asked, whether or not the manifest serves the task."""
        said = self._model.answers(image, [(one.question, one.history) for one in asked])
        return [generation.text for generation in said]

    def label_probabilities(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """Probability by label, calibrated by the package's own calibration where it has one."""
        told: dict[str, float] = {}
        for label, raw in self._model.label_scores(image).items():
            if raw is not None:
                calibrated = self._calibration.calibrated(label, raw) if self._calibration else None
                told[label] = raw if calibrated is None else calibrated
        return told

    def close(self) -> None:
        """End the engine."""
        self._model.close()
