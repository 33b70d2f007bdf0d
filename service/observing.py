"""From an image's result to what is watched over time: numbers and events, nothing of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

from pydicom import Dataset

from clinical import CheckStatus, Presence, Reading
from service.book.observations import Device
from service.book.states import InstanceState
from service.drift import Observation
from service.study_reading import ImageResult

_LONGEST_NAME = 64
# Checks whose score says how an image is made, not whether something is wrong with it.
_SCORED = ("gate-layout", "gate-shape", "familiarity")
_CLASSIFICATION = "classification"
CHECK_FAILED = "check-failed"


def device_of(header: Dataset) -> Device:
    """Maker and model as the header states them; empty where it is silent or malformed."""
    return Device(*(_words(header, keyword) for keyword in ("Manufacturer", "ManufacturerModelName")))


def _words(header: Dataset, keyword: str) -> str:
    try:
        text = str(header.get(keyword, "") or "")
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""
    return " ".join("".join(c for c in text if c.isprintable()).split())[:_LONGEST_NAME]


def observation(result: ImageResult) -> Observation | None:
    """What of an image is watched; None of one that is no chest radiograph or that could not be decoded."""
    if result.state is InstanceState.ANALYSED and result.reading is not None:
        return _of_reading(result.reading)
    if result.state is InstanceState.NOT_ASSESSED:
        withheld = result.code == CHECK_FAILED
        return Observation(events={"refused by the gate": not withheld, "withheld": withheld})
    return None


def _of_reading(reading: Reading) -> Observation:
    numbers: dict[str, float] = {
        check.name: check.score
        for check in reading.checks
        if check.name in _SCORED and check.score is not None
    }
    sure = [sentence.confidence for sentence in reading.sentences if sentence.confidence is not None]
    if sure:
        numbers["report confidence"] = mean(sure)
    for exchange in reading.exchanges:
        if exchange.task == _CLASSIFICATION and exchange.confidence is not None:
            numbers["classification confidence"] = exchange.confidence
    numbers["report words"] = float(sum(len(sentence.text.split()) for sentence in reading.sentences))
    failed = any(c.status is CheckStatus.FAIL for s in reading.sentences for c in s.checks)
    events = {"refused by the gate": False, "withheld": False, "sentence withheld": failed}
    return Observation(numbers, {**events, **_calls(reading)})


def _calls(reading: Reading) -> Mapping[str, bool]:
    calls: dict[str, bool] = {}
    for finding in reading.findings:
        present = finding.presence is Presence.PRESENT
        calls[finding.label.name] = calls.get(finding.label.name, False) or present
    return calls
