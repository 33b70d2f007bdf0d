"""Data sets: made-up archives of the published layouts give the statements RadVLM was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training import archives
from training.datasets import chexpert, imagenome, mimic, ms_cxr, padchest, vindr
from training.datasets.box_fusion import fuse_boxes
from training.datasets.catalogue import PARTS, PUBLISHED_ROWS, Root, examples_of
from training.datasets.folders import MissingData
from training.task import Task

GOLDEN_FUSION = json.loads((Path(__file__).parent / "golden_fusion.json").read_text(encoding="utf-8"))


def test_published_composition_adds_up_to_the_papers_total() -> None:
    assert PUBLISHED_ROWS == 1_115_021


def test_mimic_gives_frontal_images_with_findings_first_on_one_line(tmp_path: Path) -> None:
    root = archives.mimic(tmp_path)
    (example,) = mimic.reports(root, "train")
    assert example.report == "A nodule in the right lung."
    assert example.image == root / "files/p10/p10000001/s50000001/aaa.jpg"
    assert [found.report for found in mimic.reports(root, "test")] == ["Mild edema."]


def test_uncertain_counts_as_present_and_no_finding_clears_nothing_in_mimic(tmp_path: Path) -> None:
    (example,) = mimic.classifications(archives.mimic(tmp_path), "train")
    assert example.labels == ("Lung Lesion", "Pneumothorax")
    assert len(example.vocabulary) == 13


def test_no_finding_clears_all_but_devices_in_chexpert(tmp_path: Path) -> None:
    root = archives.chexpert(tmp_path)
    (example,) = chexpert.classifications(root, "train")
    assert example.labels == ("Support Devices",)
    assert example.image == root / "train/patient00001/study1/view1_frontal.jpg"
    assert example.patient == "patient00001"
    (tested,) = chexpert.classifications(root, "test")
    assert tested.labels == ("Atelectasis", "Pleural Effusion")


def test_filtered_reports_replace_the_sections_and_drop_what_the_filter_dropped(tmp_path: Path) -> None:
    root = archives.chexpert_plus(tmp_path / "plus")
    (example,) = chexpert.plus_reports(root, "train")
    assert example.report == "CLEAR LUNGS."
    assert example.image.name == "view1_frontal.png"
    archives.write(root / "filtered_reports/train_patient00002_study3.txt", "Clear lungs.\n")
    assert [found.report for found in chexpert.plus_reports(root, "train")] == ["Clear lungs."]
    assert not list(chexpert.plus_reports(root, "test"))

    root = archives.mimic(tmp_path / "mimic")
    archives.write(root / "filtered_reports_new/50000002.txt", "No edema.")
    assert not list(mimic.reports(root, "train"))
    assert [found.report for found in mimic.reports(root, "valid")] == ["No edema."]


def test_region_is_one_of_the_scene_graph_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path)
    (example,) = imagenome.regions(roots[Root.IMAGENOME], roots[Root.MIMIC], "train")
    assert example.name in {"right lung", "carina"}
    assert example.boxes == ((0.1, 0.1, 0.5, 0.5),)
    names = {
        next(imagenome.regions(roots[Root.IMAGENOME], roots[Root.MIMIC], "train", seed=seed)).name
        for seed in range(20)
    }
    assert names == {"right lung", "carina"}


def test_boxes_of_one_sentence_are_one_example(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path)
    (example,) = ms_cxr.phrases(roots[Root.MS_CXR], roots[Root.MIMIC], "train")
    assert example.name == "Two opacities" and len(example.boxes) == 2
    folder = roots[Root.MS_CXR] / "sentences_BBox_mscxr"
    archives.write_json(folder / "aaa.json", [{"observation": "One", "box": [0.1, 0.2, 0.3, 0.4]}])
    (example,) = ms_cxr.phrases(roots[Root.MS_CXR], roots[Root.MIMIC], "train")
    assert (example.name, example.boxes) == ("One", ((0.1, 0.2, 0.3, 0.4),))


def test_padchest_skips_laterals_and_sentences_without_boxes(tmp_path: Path) -> None:
    examples = list(padchest.phrases(archives.padchest(tmp_path), "train"))
    assert [(found.image.name, found.name) for found in examples] == [("one.png", "Nodule in the left lung.")]


def test_readers_boxes_of_vindr_are_fused_per_finding(tmp_path: Path) -> None:
    root = archives.vindr(tmp_path)
    normal, ill = sorted(vindr.detections(root, "train"), key=lambda found: len(found.findings))
    assert normal.findings == ()
    assert ill.findings == (
        ("ILD", ((0.5, 0.25, 0.9, 0.45),)),
        ("Nodule/Mass", ((0.12, 0.11, 0.22, 0.16),)),
    )
    assert [found.name for found in vindr.abnormalities(root, "train")] == ["ILD", "Nodule/Mass"]


def test_image_of_unknown_size_is_refused_unless_the_papers_defect_is_wanted(tmp_path: Path) -> None:
    root = archives.vindr(tmp_path)
    archives.write_json(root / "image_resolutions_train.json", {"i2": [1000, 1000]})
    with pytest.raises(MissingData, match="convert it first"):
        list(vindr.detections(root, "train"))
    found = {
        name for item in vindr.detections(root, "train", radvlm_compat=True) for name, _ in item.findings
    }
    assert found == {"ILD", "Nodule/Mass"}


@pytest.mark.parametrize("case", GOLDEN_FUSION, ids=lambda case: f"{len(case['boxes_px'])} boxes")
def test_fusion_equals_the_reference_implementation_in_value_and_order(
    case: dict[str, list[list[int]]],
) -> None:
    """Golden: ensemble-boxes 1.0.9, threshold 0.1, equal scores, rounded to three decimals."""
    boxes = [(x1 / 1000, y1 / 1000, x2 / 1000, y2 / 1000) for x1, y1, x2, y2 in case["boxes_px"]]
    assert [list(box) for box in fuse_boxes(boxes)] == case["fused"]


unit = st.floats(-0.2, 1.2)


@given(st.lists(st.tuples(unit, unit, unit, unit), max_size=12))
def test_fused_boxes_lie_in_the_image_and_are_no_more_than_were_given(
    boxes: list[tuple[float, float, float, float]],
) -> None:
    fused = fuse_boxes(boxes)
    assert len(fused) <= len(boxes)
    assert all(0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1 for x1, y1, x2, y2 in fused)


def test_every_part_reads_its_archive(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path)
    tasks = set()
    for part in PARTS:
        examples = list(examples_of(part, roots, "train"))
        assert examples, part.name
        assert {example.task for example in examples} == {part.task}
        tasks.add(part.task)
    assert tasks == set(Task)


def test_missing_archive_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"reports\.csv"):
        list(mimic.reports(tmp_path, "train"))
