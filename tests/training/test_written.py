"""Texts a language model writes: resumed, whole or not at all, and never sent without the site's word."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from clinical import Permanent, Transient
from tests.training import archives
from training.datasets import chexpert, mimic
from training.evaluation.judge import read_judgements
from training.written import Author
from training.written.conversations import read_conversation, write_conversations
from training.written.report_filter import filter_reports
from training.written.subjects import of_mimic, of_ms_cxr, of_padchest

_REPOSITORY = Path(__file__).resolve().parents[2]


class Scripted:
    """The far end: answers in turn, or raises what stands in the script; keeps the prompts."""

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.prompts: list[str] = []

    def models(self) -> list[dict[str, Any]]:
        return [{"id": "writer"}]

    def chat(self, body: Mapping[str, Any], stop: Event) -> Iterator[dict[str, Any]]:
        self.prompts.append(body["messages"][0]["content"])
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        yield {"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}

    def close(self) -> None:
        pass


def author(far_end: Scripted) -> Author:
    return Author(far_end, "writer", sleep=lambda delay_s: None)


def test_busy_server_is_asked_again_and_a_refusal_is_not() -> None:
    far_end = Scripted(Transient("model-server-busy", "busy"), "text ")
    assert author(far_end).write("prompt") == "text"
    far_end = Scripted(Permanent("model-server-refuses-us", "no"), "never")
    with pytest.raises(Permanent):
        author(far_end).write("prompt")
    assert len(far_end.prompts) == 1


def test_filtered_report_is_dropped_only_where_nothing_is_left_unless_compat(tmp_path: Path) -> None:
    reports = [("1", "A"), ("2", "B"), ("3", "C")]
    answers = ("Clear lungs.", "None.", "None of the lungs is clear.")
    done = filter_reports(reports, author(Scripted(*answers)), tmp_path / "ours")
    assert (done.written, done.dropped) == (2, 1)
    done = filter_reports(reports, author(Scripted(*answers)), tmp_path / "theirs", radvlm_compat=True)
    assert (done.written, done.dropped) == (1, 2)


def test_stopped_filter_sends_no_report_twice(tmp_path: Path) -> None:
    reports = [("1", "A"), ("2", "B"), ("3", "C")]
    with pytest.raises(Permanent):
        filter_reports(reports, author(Scripted("a", "None", Permanent("x", "stop"))), tmp_path)
    far_end = Scripted("c")
    done = filter_reports(reports, author(far_end), tmp_path)
    assert (done.written, done.done_before) == (1, 2) and len(far_end.prompts) == 1
    assert (tmp_path / "3.txt").read_text() == "c"


def test_filtered_reports_are_found_by_the_builders(tmp_path: Path) -> None:
    root = archives.mimic(tmp_path / "mimic")
    filter_reports(
        mimic.unfiltered_reports(root, "train"), author(Scripted("One nodule.")), root / "filtered_reports"
    )
    assert [found.report for found in mimic.reports(root, "train")] == ["One nodule."]
    root = archives.chexpert_plus(tmp_path / "plus")
    filter_reports(
        chexpert.plus_unfiltered(root, "train"), author(Scripted("Clear.")), root / "filtered_reports"
    )
    assert [found.report for found in chexpert.plus_reports(root, "train")] == ["Clear."]


def test_conversation_is_written_with_what_is_known_and_kept_only_if_turns_alternate(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path)
    by_name = {root.value: path for root, path in roots.items()}
    usable = json.dumps(archives.conversation(("Q", "A"), ("R", "B")))
    far_end = Scripted(f"Here it is: {usable}", "no list", usable)
    plain = write_conversations(of_mimic(by_name["mimic"], "train"), author(far_end), tmp_path / "a")
    assert (plain.written, plain.unusable) == (1, 0)
    assert "Findings present: Lung Lesion, Pneumothorax" in far_end.prompts[0]
    grounded = write_conversations(
        of_ms_cxr(by_name["ms-cxr"], by_name["mimic"], "train"), author(far_end), tmp_path / "b"
    )
    assert (grounded.written, grounded.unusable) == (0, 1)
    assert "Two opacities: [0.10, 0.10, 0.20, 0.20] [0.50, 0.50, 0.60, 0.60]" in far_end.prompts[1]
    padchest = write_conversations(of_padchest(by_name["padchest"], "train"), author(far_end), tmp_path / "c")
    assert padchest.written == 1 and json.loads((tmp_path / "c/one.json").read_text()) == json.loads(usable)


@pytest.mark.parametrize(
    "answer", ["", "[]", "[1, 2]", '[{"from": "human", "value": "Q"}]', '{"from": 1}', "]["]
)
def test_answer_that_is_no_conversation_is_not_kept(answer: str) -> None:
    assert not read_conversation(answer)


def test_judgement_is_averaged_as_the_reference_does_and_without_its_defect() -> None:
    texts = [
        "Overall score: 8/10",
        "Overall score:\nround 1: 2/10\nOverall score: 6/10",
        "no score",
        "overall score 0/10",
    ]
    read = read_judgements(texts)
    assert read.radvlm_compat == pytest.approx((8 + 2 + 6 + 0) / 4)
    assert read.strict == pytest.approx((8 + 6 + 0) / 3)
    assert (read.counted, read.unreadable) == (3, 1)


def test_no_report_is_sent_unless_the_agreement_allows_it(tmp_path: Path) -> None:
    root = archives.mimic(tmp_path / "mimic")
    done = subprocess.run(
        [
            sys.executable, "-m", "raddraft", "train", "filter-reports", "--archive", f"mimic={root}",
            "--out", tmp_path / "out", "--endpoint", "http://127.0.0.1:9/v1", "--name", "x",
        ],
        capture_output=True, text=True, check=False, timeout=120, cwd=_REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 2
    assert "agreement" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
