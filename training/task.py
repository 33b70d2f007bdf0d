"""The tasks of RadVLM: what an instruction row teaches and what a question asks."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What a row teaches, or a question asks."""

    REPORT = "report"
    CLASSIFICATION = "classification"
    ANATOMY = "anatomical_grounding"
    ABNORMALITY = "abnormality_grounding"
    PHRASE = "phrase_grounding"
    DETECTION = "detection"
    CONVERSATION = "conversation"
