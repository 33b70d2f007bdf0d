"""A failed check withholds what the site says, and the critical channel speaks all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from clinical import CheckStatus, DraftOutcome, draft_from_json, draft_to_json
from inference import Model, load_model
from service.book.states import InstanceState
from service.reading_worker import reading_terms
from service.settings import Settings
from service.study_reading import ImageFile, ReadingTerms, StudyReading, read_study
from training.phantoms.dicom import VARIANTS, phantom_dataset
from training.phantoms.phantom import truth_of

# What the embedded model says of this phantom fails a check.
_FAILING_SEED = 5_100_016
_TERMS = reading_terms(Settings())


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


def _seed_with_pneumothorax() -> int:
    """Seed of a phantom with a pneumothorax but no tension, which would be raised beside it."""
    shown = {"Pneumothorax", "Mediastinal shift"}
    seeds = range(5_100_000, 5_100_100)
    return next(s for s in seeds if shown & set(truth_of(s).labels) == {"Pneumothorax"})


def _read(
    model: Model,
    folder: Path,
    terms: ReadingTerms,
    change: Callable[[Dataset], object] = lambda _: None,
    *,
    seed: int | None = None,
    size_px: int = 320,
) -> StudyReading:
    dataset, _ = phantom_dataset(seed or _seed_with_pneumothorax(), VARIANTS[0], size_px)
    change(dataset)
    path = folder / "image.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return read_study(
        str(dataset.StudyInstanceUID), 1, [ImageFile(str(dataset.SOPInstanceUID), path)], model, terms
    )


def _mirror(dataset: Dataset) -> None:
    dataset.PatientOrientation = ["R", "F"]


def test_a_header_that_says_mirrored_withholds_the_result_and_raises_it_all_the_same(
    model: Model, tmp_path: Path
) -> None:
    read = _read(model, tmp_path, _TERMS, _mirror)
    assert read.draft.outcome is DraftOutcome.NOT_ASSESSED and not read.draft.readings
    assert read.images[0].state is InstanceState.NOT_ASSESSED and read.images[0].code == "check-failed"
    assert [check.name for check in read.draft.checks] == ["orientation-by-header"]
    assert [entry.name for entry in read.draft.critical] == ["Pneumothorax"]
    assert draft_from_json(draft_to_json(read.draft)) == read.draft


def test_a_failed_sentence_withholds_itself_or_the_draft_as_the_site_says(
    model: Model, tmp_path: Path
) -> None:
    as_sentence = _read(model, tmp_path, _TERMS, seed=_FAILING_SEED)
    (reading,) = as_sentence.draft.readings
    failed = [s for s in reading.sentences if any(c.status is CheckStatus.FAIL for c in s.checks)]
    assert failed and all(sentence.text not in reading.report_text for sentence in failed)
    as_draft = _read(model, tmp_path, replace(_TERMS, withhold_draft=True), seed=_FAILING_SEED)
    assert as_draft.draft.outcome is DraftOutcome.NOT_ASSESSED
    assert as_draft.draft.checks and all(c.status is CheckStatus.FAIL for c in as_draft.draft.checks)


def test_a_sound_reading_is_not_withheld_by_the_stricter_setting(model: Model, tmp_path: Path) -> None:
    read = _read(model, tmp_path, replace(_TERMS, withhold_draft=True))
    assert read.draft.outcome is DraftOutcome.FINDINGS and len(read.draft.readings) == 1
