"""Phantoms: the same seed is the same image, boxes are exact, the truth does not depend on the size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.phantoms import REGIONS, Kind, compose, displayed, draw
from training.phantoms.collection import read_collection, write_collection
from training.phantoms.phantom import box_of, truth_of
from training.phantoms.render import anatomy_masks, grid_of, lesion_mask
from training.phantoms.sheet import contact_sheet

seeds = st.integers(0, 2**31)


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_same_seed_gives_same_image_and_truth(seed: int) -> None:
    first, truth = draw(seed, 64)
    second, again = draw(seed, 64)
    assert np.array_equal(first, second)
    assert truth == again == truth_of(seed)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_boxes_hold_exactly_the_pixels_of_their_masks_at_a_finer_size(seed: int) -> None:
    scene = compose(seed)
    truth = truth_of(seed)
    grid = grid_of(scene, 480)
    anatomy = anatomy_masks(scene, grid)
    for finding in truth.findings:
        fine = [box_of(lesion_mask(scene, lesion, grid, anatomy)) for lesion in scene.of_kind(finding.label)]
        for box in finding.boxes:
            assert min(np.abs(np.subtract(box, other)).max() for other in fine if other) <= 2 / 160


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_every_box_lies_in_the_image_and_every_visible_region_has_one(seed: int) -> None:
    truth = truth_of(seed)
    boxes = [*truth.regions.values(), *(box for finding in truth.findings for box in finding.boxes)]
    for x1, y1, x2, y2 in boxes:
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
    assert set(truth.regions) == set(REGIONS)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_right_of_patient_is_left_of_image(seed: int) -> None:
    truth = truth_of(seed)
    assert truth.regions["right lung"][0] < truth.regions["left lung"][0]
    for finding in truth.findings:
        if finding.side in {"right", "left"} and finding.label is not Kind.SUPPORT_DEVICES:
            centre = (finding.boxes[0][0] + finding.boxes[0][2]) / 2
            own, other = (
                truth.regions[f"{finding.side} lung"],
                truth.regions[_opposite(finding.side) + " lung"],
            )
            assert own[0] - 0.02 <= centre <= own[2] + 0.02
            assert abs(centre - (own[0] + own[2]) / 2) < abs(centre - (other[0] + other[2]) / 2)


def _opposite(side: str) -> str:
    return "left" if side == "right" else "right"


@pytest.mark.parametrize("seed", range(4))
def test_large_rendering_shrinks_to_the_training_image(seed: int) -> None:
    small, _ = draw(seed)
    large, _ = draw(seed, 640)
    shrunk = Image.fromarray(displayed(large)).resize(small.shape, Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(shrunk, dtype=float) - displayed(small))
    assert difference.mean() < 4.0


def test_labels_are_balanced_and_some_phantoms_are_normal() -> None:
    truths = [truth_of(seed) for seed in range(400)]
    shares = {kind: np.mean([kind.value in truth.labels for truth in truths]) for kind in Kind}
    assert all(0.12 < share < 0.36 for share in shares.values()), shares
    assert 0.08 < np.mean([not truth.findings for truth in truths]) < 0.3


def test_collection_reads_back_what_was_drawn(tmp_path: Path) -> None:
    write_collection(tmp_path, count=3, first_seed=40, size_px=64)
    entries = list(read_collection(tmp_path))
    assert [entry.truth.seed for entry in entries] == [40, 41, 42]
    for entry in entries:
        pixels, truth = draw(entry.truth.seed, 64)
        with Image.open(tmp_path / entry.image) as picture:
            assert np.array_equal(np.asarray(picture), displayed(pixels))
        assert entry.truth.labels == truth.labels


def test_contact_sheet_shows_every_seed(tmp_path: Path) -> None:
    contact_sheet([1, 2, 3], tmp_path / "sheet.png", columns=2, size_px=64)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (128, 128)


def test_phantoms_and_evaluation_need_no_torch() -> None:
    program = (
        "import sys; import training.phantoms.dicom, training.instructions, training.evaluation.baselines;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
