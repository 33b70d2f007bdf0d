"""Reading a study: what a worker keeps in memory of it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

import service.study_reading
from imaging import DecodeLimits, load_displayed
from inference import load_model
from service.study_reading import ImageFile, ReadingTerms, read_study
from training.phantoms.dicom import VARIANTS, write_phantom


def test_a_worker_holds_one_decoded_image_of_a_study_however_many_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    alive: list[int] = []

    def watched(*arguments: Any, **more: Any) -> Any:
        gc.collect()
        alive.append(sum(image() is not None for image in decoded))
        displayed = load_displayed(*arguments, **more)
        decoded.append(weakref.ref(displayed.pixels))
        return displayed

    monkeypatch.setattr(service.study_reading, "load_displayed", watched)
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.dcm"
        write_phantom(path, 9_840_000 + number, VARIANTS[0], size_px=256)
        files.append(ImageFile(f"1.2.{number}", path))
    model = load_model(threads=1)
    terms = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")
    read = read_study("1.2", 1, files, model, terms, keep_displayed=False)
    model.close()
    assert len(read.draft.readings) == 3 and alive == [0, 0, 0]
    assert all(image.displayed is None for image in read.images)
