"""Conversations: a first question, then questions that only make sense with what was said before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.instructions import answers, questions
from training.instructions.questions import Wording
from training.phantoms import TrueFinding, Truth


@dataclass(frozen=True, slots=True)
class Turn:
    """One question, its true answer and, for a follow-up, its canonical wording (empty for a first turn)."""

    question: str
    answer: str
    asks: str = ""


class _Talk:
    """The turns so far, the finding that "it" means now, and the labels already named."""

    def __init__(self, truth: Truth, rng: np.random.Generator, wording: Wording) -> None:
        self.truth, self.rng, self.wording = truth, rng, wording
        self.turns: list[Turn] = []
        self.named: set[str] = set()

    def start_with_list(self) -> None:
        self.turns.append(Turn(self.wording.classification(), answers.classification(self.truth.labels)))
        self.named.update(self.truth.labels)

    def start_with(self, finding: TrueFinding) -> None:
        name = finding.label.value.lower()
        self.turns.append(Turn(self.wording.grounding(name), answers.location(name, finding.boxes)))
        self.named.add(finding.label.value)

    def ask(self, asks: str, answer: str) -> None:
        self.turns.append(Turn(self.wording.follow_up(asks), answer, asks))

    def where(self, asks: str, finding: TrueFinding) -> None:
        self.ask(asks, answers.location(finding.label.value.lower(), finding.boxes))

    def details(self, finding: TrueFinding) -> None:
        """Side and size of the finding just located, in either order, one of them left out at times."""
        asked = [questions.SIDE, questions.EXTENT] if finding.side else [questions.EXTENT]
        self.rng.shuffle(asked)
        for asks in asked[: 1 + int(self.rng.random() < 0.5)]:
            self.ask(asks, answers.side(finding) if asks == questions.SIDE else answers.extent(finding.boxes))

    def others(self) -> list[TrueFinding]:
        """Ask what else there is; returns what the answer names."""
        rest = [finding for finding in self.truth.findings if finding.label.value not in self.named]
        self.ask(questions.OTHERS, answers.other_findings([finding.label.value for finding in rest]))
        self.named.update(finding.label.value for finding in rest)
        return rest


def converse(truth: Truth, rng: np.random.Generator, wording: Wording) -> tuple[Turn, ...]:
    """One conversation of two to six turns about a phantom."""
    talk = _Talk(truth, rng, wording)
    if not truth.findings or rng.random() < 0.5:
        _about_the_list(talk)
    else:
        _about_one_then_others(talk)
    return tuple(talk.turns)


def _about_the_list(talk: _Talk) -> None:
    talk.start_with_list()
    findings = talk.truth.findings
    if len(findings) == 1:
        talk.where(questions.WHERE, findings[0])
        talk.details(findings[0])
    elif findings:
        first = talk.rng.random() < 0.5
        finding = findings[0] if first else findings[-1]
        talk.where(questions.WHERE_FIRST if first else questions.WHERE_LAST, finding)
        talk.details(finding)
    if not findings or talk.rng.random() < 0.5:
        talk.others()


def _about_one_then_others(talk: _Talk) -> None:
    finding = talk.truth.findings[int(talk.rng.integers(len(talk.truth.findings)))]
    talk.start_with(finding)
    talk.details(finding)
    rest = talk.others()
    if len(rest) == 1:
        talk.where(questions.WHERE, rest[0])
        talk.details(rest[0])
    elif rest:
        first = talk.rng.random() < 0.5
        chosen = rest[0] if first else rest[-1]
        talk.where(questions.WHERE_FIRST if first else questions.WHERE_LAST, chosen)
        talk.details(chosen)
