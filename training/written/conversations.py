"""Conversations about an image, written by a language model from its report, labels and, where known, its boxes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.datasets.conversations import turns_of
from training.datasets.example import Finding
from training.written.author import Author

_PROMPT = """\
Write a conversation of 5 to 10 rounds between a physician and an assistant that looks at a chest radiograph.
You are given the radiologist's report; the assistant speaks as if it saw the image and never mentions a report.
- The physician asks about presence, place, side, size and meaning of findings, in words a colleague would use;
  later questions refer to earlier answers.
- The assistant answers only from what is given below, carefully, and says so where the image cannot tell.
- No comparison with earlier examinations, no patient history, no treatment.
Answer with a JSON list alone: [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}, ...].
"""
_BOXES = """\
- Some rounds ask where something is. Then the assistant gives the box below, word for word, as [x1, y1, x2, y2].
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of one image; `findings` are sentences with their boxes (fractions), empty for a plain talk."""

    key: str
    report: str
    view: str = ""
    labels: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """How many conversations were written, how many answers were not usable, how many had been done before."""

    written: int
    unusable: int
    done_before: int


def write_conversations(
    subjects: Iterable[Subject],
    author: Author,
    out: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write `KEY.json` into `out` for each subject; a stopped run goes on where it was.

    An answer that is not a conversation of questions and answers in turn is not written, and is asked for again
    in the next run.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = unusable = before = 0
    for count, subject in enumerate(subjects, start=1):
        target = out / f"{subject.key}.json"
        if target.exists():
            before += 1
        elif spoken := read_conversation(author.write(prompt_of(subject))):
            fresh = target.with_suffix(".part")
            fresh.write_text(json.dumps(spoken, ensure_ascii=False, indent=1), encoding="utf-8")
            os.replace(fresh, target)
            written += 1
        else:
            unusable += 1
        if progress:
            progress(count)
    return Written(written, unusable, before)


def prompt_of(subject: Subject) -> str:
    """What the author is asked for one subject; boxes have two decimals with zeros, as RadVLM's conversations do."""
    lines = [_PROMPT + (_BOXES if subject.findings else ""), f"Report: {subject.report}"]
    if subject.view:
        lines.append(f"View: {subject.view}")
    if subject.labels:
        lines.append(f"Findings present: {', '.join(subject.labels)}")
    for sentence, boxes in subject.findings:
        written = " ".join("[" + ", ".join(f"{edge:.2f}" for edge in box) + "]" for box in boxes)
        lines.append(f"{sentence}: {written}")
    return "\n".join(lines)


def read_conversation(answer: str) -> Sequence[dict[str, Any]]:
    """The JSON list in an answer, or nothing where there is none or its turns do not alternate."""
    start, end = answer.find("["), answer.rfind("]")
    try:
        spoken: list[dict[str, Any]] = json.loads(answer[start : end + 1])
        turns = turns_of(spoken)
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    usable = all(isinstance(text, str) and text.strip() for turn in turns for text in turn)
    return spoken if turns and usable else ()
