"""The evidence table: face by reader, and what the reader said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reader said of one object, or of one study.

    Attributes
    ----------
    face
        What was read: ``"sr"``, ``"whole study"`` ...
    reader
        Program and version.
    checks
        What the reader looks at, in a few words.
    study
        Kind of the study (`tests.conformance.studies.Study.kind`).
    passed
        Whether the reader objected to nothing, known notes apart.
    notes
        What it said all the same, without values of the object: known and accepted.
    problem
        What it objected to; empty where `passed`.
    """

    face: str
    reader: str
    checks: str
    study: str
    passed: bool
    notes: tuple[str, ...] = ()
    problem: str = ""


_HEADING = """# What readers of other makers say of our results

Made by `make conformance`; never edited. Each study was read by the embedded demonstration model: generated phantoms of
every kind of result, and real radiographs where a folder of them is there. A cell says how many objects the reader took
without objection, of how many it was given.

"""


def as_markdown(verdicts: Sequence[Verdict], columns: Sequence[str]) -> str:
    """The document: one row per face and reader, one column per kind of study, then what is known and accepted."""
    rows = dict.fromkeys((v.face, v.reader, v.checks) for v in verdicts)
    lines = [
        f"| face | reader | checks | {' | '.join(columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for face, reader, checks in rows:
        said = [v for v in verdicts if (v.face, v.reader, v.checks) == (face, reader, checks)]
        cells = [_cell([v for v in said if v.study == column]) for column in columns]
        lines.append(f"| {face} | {reader} | {checks} | {' | '.join(cells)} |")
    return _HEADING + "\n".join(lines) + "\n" + _notes(verdicts) + _problems(verdicts)


def _cell(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    passed = sum(v.passed for v in verdicts)
    return f"{passed} of {len(verdicts)}" + ("" if passed == len(verdicts) else " **failed**")


def _notes(verdicts: Iterable[Verdict]) -> str:
    noted = dict.fromkeys((v.reader, v.face, note) for v in verdicts for note in v.notes)
    if not noted:
        return ""
    by_note: dict[tuple[str, str], list[str]] = {}
    for reader, face, note in noted:
        by_note.setdefault((reader, note), []).append(face)
    lines = [f"- {reader}, of {', '.join(faces)}: {note}" for (reader, note), faces in by_note.items()]
    return "\n## Known and accepted\n\n" + "\n".join(lines) + "\n"


def _problems(verdicts: Iterable[Verdict]) -> str:
    lines = list(
        dict.fromkeys(f"- {v.reader}, {v.face} ({v.study}): {v.problem}" for v in verdicts if not v.passed)
    )
    return "\n## Objections\n\n" + "\n".join(lines) + "\n" if lines else ""
