"""Phantoms: the same seed is the same image, boxes are exact, the truth does not depend on the size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.evaluation.boxes import iou, mean_box
from training.instructions import read_rows, write_rows
from training.phantoms import KINDS, LABELS, REGIONS, Form, Kind, Truth, compose, displayed, draw
from training.phantoms.anatomy import anatomy_masks
from training.phantoms.collection import OtherEdition, from_json, read_collection, to_json, write_collection
from training.phantoms.exposure import open_window
from training.phantoms.grid import grid_of
from training.phantoms.kinds import VINDR_DRAWN
from training.phantoms.lesions import lesion_mask
from training.phantoms.phantom import box_of, truth_of
from training.phantoms.placing_devices import Place
from training.phantoms.sheet import contact_sheet, telling
from training.phantoms.strangers import Stranger
from training.phantoms.subjects import Subject, draw_subject

seeds = st.integers(0, 2**31)


def _opposite(side: str) -> str:
    return "left" if side == "right" else "right"


def test_collection_reads_back_what_was_drawn(tmp_path: Path) -> None:
    write_collection(tmp_path, count=3, first_seed=40, size_px=64)
    entries = list(read_collection(tmp_path))
    assert [entry.truth.seed for entry in entries] == [40, 41, 42]
    for entry in entries:
        pixels, truth = draw(entry.truth.seed, 64)
        with Image.open(tmp_path / entry.image) as picture:
            assert np.array_equal(np.asarray(picture), displayed(pixels))
        assert entry.truth.labels == truth.labels


def test_phantoms_of_another_edition_are_not_read() -> None:
    record = to_json(truth_of(0))
    del record["edition"]
    with pytest.raises(OtherEdition, match="draw them again"):
        from_json(record)


def test_contact_sheet_shows_every_seed(tmp_path: Path) -> None:
    contact_sheet(
        [(seed, Subject.FRONTAL) for seed in (1, 2, 3)], tmp_path / "sheet.png", columns=2, size_px=64
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 128 and sheet.height > 128


def test_a_telling_sheet_shows_every_label_once_and_no_phantom_in_vain() -> None:
    shown = list(telling(0))
    frontal = [truth_of(seed) for seed, subject in shown if subject is Subject.FRONTAL]
    assert {label for truth in frontal for label in truth.labels} == set(LABELS)
    assert len(frontal) < 60
    assert {subject for _, subject in shown} == set(Subject)


def test_phantoms_and_evaluation_need_no_torch() -> None:
    program = (
        "import sys; import training.phantoms.dicom, training.instructions, training.evaluation.baselines;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_seeds_phantom_stays_what_it_was() -> None:
    """Pinned: the embedded model was trained on what these seeds draw."""
    pinned = json.loads(Path(__file__).with_name("golden_phantoms.json").read_text(encoding="utf-8"))
    for known in pinned:
        image, truth = draw(known["seed"])
        told = to_json(truth)
        assert {key: told[key] for key in ("findings", "regions")} == known["truth"]
        cells = displayed(image).reshape(16, 10, 16, 10).mean(axis=(1, 3))
        assert np.abs(cells - np.array(known["cells"])).max() < 0.6


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_same_seed_gives_same_image_and_truth(seed: int) -> None:
    first, truth = draw(seed, 64)
    second, again = draw(seed, 64)
    assert np.array_equal(first, second)
    assert truth == again == truth_of(seed)
    assert from_json(json.loads(json.dumps(to_json(truth)))).labels == truth.labels


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_boxes_hold_their_masks_at_a_finer_size(seed: int) -> None:
    scene, truth = compose(seed), truth_of(seed)
    grid = grid_of(scene, 480)
    anatomy = anatomy_masks(scene, grid)
    window = open_window(scene, 480)
    for finding in truth.findings:
        fine = []
        for lesion in scene.of_kind(finding.label):
            mask = np.zeros((480, 480), dtype=np.float32)
            mask[window] = lesion_mask(scene, lesion, grid, anatomy)[window]
            fine.append(box_of(mask))
        for box in finding.boxes:
            assert min(np.abs(np.subtract(box, other)).max() for other in fine if other) <= 3 / 160


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_boxes_lie_in_the_image_and_no_region_is_a_sliver(seed: int) -> None:
    truth = truth_of(seed)
    for x1, y1, x2, y2 in [*truth.regions.values(), *(box for one in truth.findings for box in one.boxes)]:
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
    assert all(min(x2 - x1, y2 - y1) >= 0.02 for x1, y1, x2, y2 in truth.regions.values())
    assert {"right lung", "left lung", "cardiac silhouette", "carina"} <= set(truth.regions)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_right_of_patient_is_left_of_image(seed: int) -> None:
    truth = truth_of(seed)
    for name, box in truth.regions.items():
        if name.startswith("right ") and name != "right atrium":
            other = truth.regions.get(name.replace("right", "left", 1))
            assert other is None or box[0] < other[0]
    for finding in truth.findings:
        if finding.side in {"right", "left"} and finding.label not in _WITHOUT_PLACE:
            centre = (finding.boxes[0][0] + finding.boxes[0][2]) / 2
            own, other = (truth.regions[f"{side} lung"] for side in (finding.side, _opposite(finding.side)))
            assert abs(centre - (own[0] + own[2]) / 2) < abs(centre - (other[0] + other[2]) / 2)


# The side of a shift is where it goes; devices cross the midline.
_WITHOUT_PLACE = {Kind.SUPPORT_DEVICES, Kind.MEDIASTINAL_SHIFT}


@pytest.fixture(scope="module")
def many() -> list[Truth]:
    return [truth_of(seed) for seed in range(500)]


def test_every_label_form_region_and_view_occurs(many: list[Truth]) -> None:
    shares = {kind: np.mean([kind.value in truth.labels for truth in many]) for kind in KINDS}
    assert all(share > 0.03 for share in shares.values()), shares
    assert 0.06 < np.mean([not truth.findings for truth in many]) < 0.3
    forms = {device.form for truth in many for device in truth.devices}
    forms |= {one.form for truth in many for one in truth.findings}
    assert set(Form) - {Form.NODULE} <= forms | {""}
    assert {place.value for place in Place} == {device.place for truth in many for device in truth.devices}
    assert {name for truth in many for name in truth.regions} == set(REGIONS)
    assert {truth.view for truth in many} == {"PA", "AP"}
    drawn = {one.vindr for truth in many for one in truth.findings} - {""}
    assert drawn == set(VINDR_DRAWN)


def test_a_mean_box_finds_less_than_a_thirds_regions(many: list[Truth]) -> None:
    hits = []
    for name in REGIONS:
        boxes = [truth.regions[name] for truth in many if name in truth.regions]
        guess = mean_box(boxes[::2])
        hits.append(np.mean([iou(guess, box) >= 0.5 for box in boxes[1::2]]))
    assert np.mean(hits) < 0.30, dict(zip(REGIONS, hits, strict=True))


def test_tips_of_tubes_lie_where_the_truth_says(many: list[Truth]) -> None:
    tubes = [
        (device, truth)
        for truth in many
        for device in truth.devices
        if device.form == Form.ENDOTRACHEAL_TUBE and "carina" in truth.regions
    ]
    assert len(tubes) > 10
    for device, truth in tubes:
        x1, y1, x2, y2 = truth.regions["carina"]
        above = (y1 + y2) / 2 - device.tip[1]
        if device.place == Place.RIGHT_MAINSTEM:
            assert above < 0 and device.tip[0] < (x1 + x2) / 2
        else:
            assert (above > 0.12) == (device.place == Place.TOO_HIGH)


@pytest.mark.parametrize("seed", range(4))
def test_large_rendering_shrinks_to_the_training_image(seed: int) -> None:
    small, _ = draw(seed, 160)
    large, _ = draw(seed, 640)
    shrunk = Image.fromarray(displayed(large)).resize(small.shape, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(shrunk, dtype=float) - displayed(small)).mean() < 5.0


def test_a_mirrored_phantom_is_the_picture_from_behind_and_keeps_the_patients_sides() -> None:
    image, truth = draw_subject(3, 96, Subject.FRONTAL)
    flipped, told = draw_subject(3, 96, Subject.MIRRORED)
    assert np.array_equal(flipped, image[:, ::-1])
    assert told.mirrored and not told.is_frontal
    assert told.regions["right lung"][0] == pytest.approx(1 - truth.regions["right lung"][2])
    assert [one.side for one in told.findings] == [one.side for one in truth.findings]


def test_a_collection_of_everything_asks_nothing_about_what_is_not_frontal(tmp_path: Path) -> None:
    write_collection(tmp_path, count=30, first_seed=0, size_px=48, others_share=0.7)
    truths = {entry.image: entry.truth for entry in read_collection(tmp_path)}
    views = {truth.view for truth in truths.values()}
    assert "LATERAL" in views and views & set(Stranger) and any(truth.mirrored for truth in truths.values())
    assert write_rows(tmp_path) > 0
    assert all(truths[row.image].is_frontal for row in read_rows(tmp_path))
