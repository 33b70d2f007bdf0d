"""Instruction rows: they say what is on the image, in RadVLM's form, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.answers import read_sentences
from inference.box_text import read_boxes
from inference.checks.critical import critical_findings
from inference.prompts import spelled
from training.evaluation.boxes import iou
from training.evaluation.reports import compare
from training.instructions import Row, Task, read_rows, rows_of, write_rows
from training.instructions.row import row_from_json
from training.instructions.sentences import phrases, report
from training.phantoms import LABELS
from training.phantoms.collection import Entry, write_collection
from training.phantoms.phantom import truth_of

seeds = st.integers(0, 2**31)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_rows_cover_all_tasks_and_round_trip(seed: int) -> None:
    truth = truth_of(seed)
    rows = list(rows_of(Entry("images/x.png", truth)))
    wanted = set(Task) if truth.findings else set(Task) - {Task.ABNORMALITY, Task.PHRASE}
    assert {row.task for row in rows} == wanted
    for row in rows:
        assert row_from_json(json.loads(json.dumps(row.to_json()))) == row
    assert rows == list(rows_of(Entry("images/x.png", truth)))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_report_contradicts_nothing_and_omits_nothing(seed: int) -> None:
    truth = truth_of(seed)
    counts = compare(report(truth), truth)
    assert counts.contradictions == counts.omitted == 0
    assert counts.side_right == counts.sided


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_product_reads_each_sentence_as_the_finding_it_states(seed: int) -> None:
    truth = truth_of(seed)
    for finding in truth.findings:
        for sentence, boxes in phrases(truth, finding):
            (read,) = read_sentences(sentence, LABELS)
            assert read.labels == ((finding.label.value, True),)
            assert boxes


def test_a_malpositioned_tube_and_a_tension_pneumothorax_raise_the_critical_channel() -> None:
    said = (
        "There is an endotracheal tube, malpositioned in the right main bronchus. "
        "There is a right tension pneumothorax. There is an enlarged cardiomediastinum: mediastinal widening."
    )
    read = read_sentences(said, LABELS)
    raised = {one.name for one in critical_findings((), read, {}, {})}
    assert raised == {"Tube malposition", "Tension", "Widened mediastinum"}
    reports = [report(truth_of(seed)) for seed in range(400)]
    assert all(any(part in one for one in reports) for part in said.split(". ")[:1])


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_rows_ask_by_both_names_and_round_trip(seed: int) -> None:
    truth = truth_of(seed)
    rows = list(rows_of(Entry("images/x.png", truth)))
    for row in rows:
        assert row_from_json(json.loads(json.dumps(row.to_json()))) == row
    asked = " ".join(row.turns[0][1] for row in rows if row.task is Task.ABNORMALITY)
    for finding in truth.findings:
        assert finding.label.value.lower() in asked
        assert spelled(finding.vindr) in asked
    assert sum(row.task is Task.ANATOMY for row in rows) == len(truth.regions)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_written_boxes_are_the_true_boxes(seed: int) -> None:
    truth = truth_of(seed)
    for row in rows_of(Entry("x", truth)):
        if row.task is Task.ANATOMY:
            (written,) = read_boxes(row.turns[0][1])
            assert max(iou(written, box) for box in truth.regions.values()) > 0.75


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_absent_findings_are_never_asked_for(seed: int) -> None:
    truth = truth_of(seed)
    absent = {"pneumothorax", "consolidation", "atelectasis"} - {label.lower() for label in truth.labels}
    for row in rows_of(Entry("x", truth)):
        if row.task in {Task.ABNORMALITY, Task.PHRASE}:
            assert not any(label in row.turns[0][0].lower() for label in absent)


def test_rows_are_llava_json_with_the_image_in_the_first_question(tmp_path: Path) -> None:
    write_collection(tmp_path, count=2, first_seed=0, size_px=32)
    count = write_rows(tmp_path)
    records = [json.loads(line) for line in (tmp_path / "instructions.jsonl").read_text().splitlines()]
    assert len(records) == count == len(list(read_rows(tmp_path)))
    for record in records:
        first, *rest = record["conversations"]
        assert first["from"] == "human" and first["value"].startswith("<image>\n")
        assert not any("<image>" in turn["value"] for turn in rest)
        assert (tmp_path / record["image"]).exists()
        assert {"id", "task", "source", "labels"} <= set(record)


def test_row_whose_turns_do_not_alternate_is_refused() -> None:
    row = Row("1", "x.png", Task.REPORT, (("q", "a"),), ()).to_json()
    row["conversations"][1]["from"] = "human"
    with pytest.raises(ValueError, match="alternate"):
        row_from_json(row)
