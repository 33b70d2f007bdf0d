"""Instruction data of the public data sets: RadVLM's form, the same bytes after a kill, no loss in conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import prompts
from tests.training import archives
from training.datasets.catalogue import PARTS, Root
from training.instructions import build
from training.instructions.build import OtherSettings, Settings, build_instructions
from training.instructions.messages import to_llava, to_messages
from training.instructions.row import line_of, read_rows
from training.task import Task


def records_of(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_part_is_written_and_counted_with_its_repetitions(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path / "data")
    counted = build_instructions(PARTS, Settings(roots), tmp_path / "out")
    rows = list(read_rows(tmp_path / "out"))
    assert {row.task for row in rows} == set(Task)
    assert sum(one.found for one in counted) == len(rows)
    assert all(one.found and one.found % one.part.repeats == 0 and not one.note for one in counted)
    assert len({row.identifier for row in rows}) == len(rows)


def test_canonical_wording_writes_the_papers_forms(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path / "data")
    settings = Settings(roots, paraphrased_share=0.0, image_root=tmp_path / "data")
    build_instructions(PARTS, settings, tmp_path / "out")
    by_id = {row.identifier: row for row in read_rows(tmp_path / "out")}
    assert by_id["mimic-train_0"].turns == ((prompts.REPORT, "A nodule in the right lung."),)
    assert by_id["mimic-train_0"].image == "mimic/files/p10/p10000001/s50000001/aaa.jpg"
    labels = by_id["mimic-labels-train_0"]
    assert labels.turns[0][1].endswith("lung lesion and pneumothorax.")
    assert labels.labels == ("Lung Lesion", "Pneumothorax") and len(labels.pathologies or ()) == 13
    ((asked, said),) = by_id["vindr-cxr-mono-train2_1"].turns
    assert asked == "Where is the nodule/mass located in this Chest X-ray?"
    assert said == "The nodule/mass is located at the coordinates [0.12, 0.11, 0.22, 0.16] on the image."
    ((asked, _),) = by_id["vindr-cxr-mono-train1_0"].turns
    assert "the ILD " in asked
    ((asked, said),) = by_id["mscxr-train3_0"].turns
    assert asked == "Please locate the following sentence: two opacities"
    assert said.endswith("[0.1, 0.1, 0.2, 0.2] and [0.5, 0.5, 0.6, 0.6] on the image.")
    ((_, said),) = by_id["vindr-cxr-train1_0"].turns
    assert "an ild located at" in said and "; a nodule/mass located at" in said


def test_part_without_its_archive_is_left_out_and_named(tmp_path: Path) -> None:
    roots = {Root.MIMIC: archives.mimic(tmp_path / "mimic")}
    counted = {one.part.name: one for one in build_instructions(PARTS, Settings(roots), tmp_path / "out")}
    assert counted["mimic-train"].found == 1 and counted["mimic-train"].published == 230_980
    assert counted["vindr-cxr-train"].found == 0 and counted["vindr-cxr-train"].note == "vindr not given"
    (tmp_path / "mimic/mimic-cxr-2.0.0-split.csv").unlink()
    counted_again = build_instructions(PARTS, Settings(roots), tmp_path / "other")
    assert "mimic-cxr-2.0.0-split.csv" in next(one.note for one in counted_again)


class Killed(BaseException):
    """Stands for SIGKILL at a place of the test's choice: nothing of the builder runs after it."""


@pytest.mark.parametrize("at_row", [1, 5, 12, 30])
def test_killed_build_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_row: int
) -> None:
    roots = archives.all_archives(tmp_path / "data")
    build_instructions(PARTS, Settings(roots), tmp_path / "whole")
    monkeypatch.setattr(build, "ROWS_PER_CHECKPOINT", 1)
    written = 0

    def killing(name: str, rows: int) -> None:
        nonlocal written
        written += 1
        if written == at_row:
            raise Killed

    with pytest.raises(Killed):
        build_instructions(PARTS, Settings(roots), tmp_path / "out", progress=killing)
    with (tmp_path / "out/instructions.jsonl").open("ab") as rows:
        rows.write(b'{"id": "half a li')
    build_instructions(PARTS, Settings(roots), tmp_path / "out")
    assert (tmp_path / "out/instructions.jsonl").read_bytes() == (
        tmp_path / "whole/instructions.jsonl"
    ).read_bytes()


def test_folder_begun_with_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    roots = {Root.VINDR: archives.vindr(tmp_path / "vindr")}
    build_instructions(PARTS, Settings(roots), tmp_path / "out")
    with pytest.raises(OtherSettings, match="other settings"):
        build_instructions(PARTS, Settings(roots, seed=1), tmp_path / "out")


def test_conversion_to_messages_and_back_is_equal_to_the_byte(tmp_path: Path) -> None:
    roots = archives.all_archives(tmp_path / "data")
    build_instructions(PARTS, Settings(roots), tmp_path / "out")
    for record in records_of(tmp_path / "out"):
        chat = to_messages(record)
        first = chat["messages"][0]
        assert first["role"] == "user" and first["content"][0] == {"type": "image"}
        assert chat["images"] == [record["image"]]
        assert line_of(to_llava(chat)) == line_of(record)


spoken = st.text().filter(lambda text: "<image>" not in text)


@given(st.lists(st.tuples(spoken, spoken), min_size=1, max_size=4), st.dictionaries(st.text(), st.integers()))
def test_any_conversation_survives_both_directions(
    turns: list[tuple[str, str]], others: dict[str, int]
) -> None:
    conversations = archives.conversation(*turns)
    conversations[0]["value"] = "<image>\n" + conversations[0]["value"]
    extra = {f"x-{key}": value for key, value in others.items()}
    record = {**extra, "image": "a.png", "conversations": conversations, "id": "1"}
    assert line_of(to_llava(to_messages(record))) == line_of(record)


@pytest.mark.parametrize("value", ["Q", "Q\n<image>", "<image>Q", "<image>\nQ <image>"])
def test_conversation_in_another_form_is_refused_rather_than_changed(value: str) -> None:
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": "A"}]
    with pytest.raises(ValueError, match="<image>"):
        to_messages({"image": "a.png", "conversations": turns, "id": "1"})
