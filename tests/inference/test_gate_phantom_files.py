"""Phantoms as DICOM, in every way they are stored, look alike and pass the whole gate."""

from __future__ import annotations

import numpy as np
import pytest

from imaging import display, display_facts
from inference.gate import gate_header, gate_pixels
from training.phantoms import displayed, draw
from training.phantoms.dicom import VARIANTS, Variant, phantom_dataset

_SIZE_PX = 480


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.storage.value}-{v.photometric.value}")
def test_phantom_files_pass_header_and_pixel_gate(variant: Variant) -> None:
    for seed in range(8_000_000, 8_000_008):
        dataset, _ = phantom_dataset(seed, variant, _SIZE_PX)
        assert gate_header(dataset).accepted, gate_header(dataset).reason
        shown = display(dataset.pixel_array, display_facts(dataset))
        verdict = gate_pixels(shown)
        assert verdict.accepted, (seed, verdict.code)
        drawn = displayed(draw(seed, _SIZE_PX)[0])
        assert np.corrcoef(shown.pixels.ravel(), drawn.ravel())[0, 1] > 0.9
