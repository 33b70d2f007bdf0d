"""The RadVLM suite end to end on made-up archives: frozen questions, resumed answers, both scorers, tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("pycocotools")
pytest.importorskip("rouge_score")

from tests.training import archives
from training.datasets.catalogue import PARTS, Roots, examples_of
from training.datasets.chexpert_labels import LABELS
from training.evaluation.manifest import Item, Manifest, build_manifest
from training.evaluation.plots import write_plots
from training.evaluation.radvlm_report import markdown
from training.evaluation.radvlm_suite import score_manifest
from training.evaluation.runner import OtherImage, probabilities_of, run_manifest
from training.evaluation.suite import Asked
from training.instructions import answers as forms
from training.task import Task


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Archives with a test split for VinDr too, and every image they name."""
    found = archives.all_archives(tmp_path)
    vindr = next(path for root, path in found.items() if root == "vindr")
    for kind in ("annotations/annotations_{}.csv", "image_resolutions_{}.json"):
        source = vindr / kind.format("train")
        archives.write(vindr / kind.format("test"), source.read_text())
    archives.write_json(
        found[next(root for root in found if root == "mimic")] / "conversations/test/standard/ddd.json",
        archives.conversation(("Is it normal?", "There is edema."), ("Where?", "In both lungs.")),
    )
    for part in PARTS:
        for split in ("train", "test"):
            try:
                examples = list(examples_of(part, found, split))
            except FileNotFoundError:
                continue
            for example in examples:
                example.image.parent.mkdir(parents=True, exist_ok=True)
                shade = sum(map(ord, example.image.name)) % 200
                Image.fromarray(np.full((20, 20), shade, np.uint8)).save(example.image)
    return found


@pytest.fixture
def frozen(roots: Roots, tmp_path: Path) -> Manifest:
    parts = [part for part in PARTS if part.name not in {"conv-grounded-train"}]
    return build_manifest(parts, roots, tmp_path / "manifest.jsonl", image_root=tmp_path)


class Oracle:
    """Answers with the manifest's truth, and keeps what it was asked."""

    def __init__(self, manifest: Manifest) -> None:
        self.asked: list[Asked] = []
        self._truth = {prompt: item for item in manifest.items for prompt in item.prompts}

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        self.asked += asked
        return [self._answer(self._truth[one.question], one) for one in asked]

    def _answer(self, item: Item, asked: Asked) -> str:
        if item.absent:
            return "It is not there."
        if item.task is Task.CLASSIFICATION:
            return forms.classification(item.labels or ())
        if item.task in (Task.REPORT, Task.CONVERSATION):
            return item.reference[len(asked.history)]
        return forms.location(item.name, item.boxes)


def test_same_seed_freezes_the_same_manifest_and_absent_findings_are_asked_for_too(
    roots: Roots, frozen: Manifest, tmp_path: Path
) -> None:
    again = build_manifest(
        [part for part in PARTS if part.name != "conv-grounded-train"], roots, tmp_path / "again.jsonl",
        image_root=tmp_path,
    )  # fmt: skip
    assert again.sha256 == frozen.sha256
    tasks = {item.task for item in frozen.items}
    assert {Task.REPORT, Task.CLASSIFICATION, Task.ANATOMY, Task.ABNORMALITY, Task.CONVERSATION} <= tasks
    assert all(not item.boxes for item in frozen.items if item.absent)


def test_true_answers_score_full_marks_and_constants_do_not(frozen: Manifest, tmp_path: Path) -> None:
    said = run_manifest(
        frozen, Oracle(frozen), tmp_path / "out/answers.jsonl", image_root=tmp_path, model="oracle"
    )
    result = score_manifest(frozen, said, model="oracle", resamples=20)
    groups = result["groups"]
    assert result["manifest"] == frozen.sha256
    assert groups["chexpert"]["strict"]["macro_f1"]["value"] == 1.0
    assert groups["chexpert"]["baselines"]["strict"]["macro_f1"]["value"] < 0.5
    assert groups["mimic"]["radvlm_compat"]["rouge_l"] == 1.0
    assert groups["mimic"]["radvlm_compat"]["green"].startswith("not computed")
    assert groups["vindr-cxr-mono"]["radvlm_compat"]["map50"] == 1.0
    assert groups["vindr-cxr-mono"]["strict"]["coco_map50"]["value"] == pytest.approx(1.0)
    assert groups["chestima"]["strict"]["false_box_rate"].startswith("not computed")
    text = markdown(result)
    assert "| RadVLM-GRPO | 84.5 | 45.9 | 87.9 | 63.0 |" in text and "not computed" in text
    pictures = write_plots(groups, tmp_path)
    assert {picture.name for picture in pictures} == {"chexpert_findings.png", "chexpert_confusion.png"}
    for picture in pictures:
        with Image.open(picture) as drawn:
            assert drawn.width > 300


class Unsure(Oracle):
    """An oracle that is as sure of a wrong label as of a right one."""

    def label_probabilities(self, image: NDArray[np.uint8]) -> dict[str, float]:
        return dict.fromkeys(LABELS, 0.9)


def test_probabilities_are_kept_and_scored_beside_the_answers(frozen: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    said = run_manifest(frozen, Unsure(frozen), out, image_root=tmp_path, model="unsure")
    stated = probabilities_of(out)
    assert stated.keys() == {item.identifier for item in frozen.items if item.task is Task.CLASSIFICATION}
    result = score_manifest(frozen, said, model="unsure", probabilities=stated, resamples=20)
    group = result["groups"]["chexpert"]
    assert 0 < group["strict"]["ece"]["value"] < 1
    assert "ece" not in group["baselines"]["strict"]
    assert "strict ece" in markdown(result)
    names = {picture.name for picture in write_plots(result["groups"], tmp_path)}
    assert {"chexpert_reliability.png", "chexpert_precision_recall.png"} <= names


def test_conversation_is_asked_after_the_models_own_answers(frozen: Manifest, tmp_path: Path) -> None:
    oracle = Oracle(frozen)
    run_manifest(frozen, oracle, tmp_path / "answers.jsonl", image_root=tmp_path, model="oracle")
    (second,) = [asked for asked in oracle.asked if asked.history]
    assert second == Asked("Where?", (("Is it normal?", "There is edema."),))


def test_stopped_run_asks_only_what_is_missing(frozen: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    first = run_manifest(frozen, Oracle(frozen), out, image_root=tmp_path, model="oracle")
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:-1]) + lines[-1][:10])
    oracle = Oracle(frozen)
    assert run_manifest(frozen, oracle, out, image_root=tmp_path, model="oracle") == first
    assert len(oracle.asked) == len(frozen.items[-1].prompts)
    with pytest.raises(ValueError, match="another model"):
        run_manifest(frozen, oracle, out, image_root=tmp_path, model="other")


def test_image_that_changed_since_the_manifest_is_refused(frozen: Manifest, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / frozen.items[0].image)
    with pytest.raises(OtherImage):
        run_manifest(frozen, Oracle(frozen), tmp_path / "a.jsonl", image_root=tmp_path, model="oracle")
    assert json.loads((tmp_path / "a.jsonl").read_text())["model"] == "oracle"
