"""Narrative report, pages and summary: the draft in words, marked as what it is, whatever its outcome."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage, EnhancedSRStorage

from clinical import Box, CriticalFinding, Draft, DraftOutcome, GroundedBox, Polarity, Sentence
from reporting import (
    ALL_KINDS,
    NarrativeClass,
    SiteProfile,
    SourceImage,
    build_faces,
    build_narrative,
    build_sr,
    build_summary,
    report_pdf,
    report_text,
)
from reporting.overlay import reading_text
from tests.conformance.programs import marked_page
from tests.reporting import crafted

_OUTCOMES = [outcome.value for outcome in DraftOutcome]


def _told(outcome: str) -> tuple[Draft, dict[str, SourceImage]]:
    header = crafted.radiograph()
    known = crafted.sources(header)
    if outcome in ("findings", "no-findings"):
        return crafted.draft([header], findings=outcome == "findings"), known
    return crafted.unread_draft([header], DraftOutcome(outcome)), known


def _texts(report: Dataset) -> list[str]:
    return [item.TextValue for item in _items(report) if item.get("ValueType") == "TEXT"]


def _items(parent: Dataset) -> list[Dataset]:
    children = list(parent.get("ContentSequence", []))
    return children + [one for child in children for one in _items(child)]


@pytest.mark.parametrize("outcome", _OUTCOMES)
def test_narrative_begins_with_what_it_is_and_is_never_final(outcome: str) -> None:
    report = crafted.saved(build_narrative(*_told(outcome)))
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "DRAFT" in report.SeriesDescription
    sections = [item for item in report.ContentSequence if item.ValueType == "CONTAINER"]
    first = sections[0].ContentSequence[0].TextValue
    assert first == "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST"


def test_narrative_is_basic_text_unless_a_site_wants_the_enhanced_class() -> None:
    told = _told("findings")
    assert build_narrative(*told).SOPClassUID == BasicTextSRStorage
    profile = SiteProfile(narrative_class=NarrativeClass.ENHANCED)
    assert build_narrative(*told, profile).SOPClassUID == EnhancedSRStorage


def _with_sentences(*sentences: Sentence) -> tuple[Draft, dict[str, SourceImage]]:
    draft, known = _told("findings")
    reading = replace(draft.readings[0], sentences=sentences)
    return replace(draft, readings=(reading,)), known


def test_each_sentence_says_what_stands_behind_it_in_every_face_with_words(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    draft, _ = _told("findings")
    uids = {f.label.name: f.uid for f in draft.readings[0].findings}
    told = _with_sentences(
        Sentence("Effusion.", Polarity.POSITIVE, (uids["Pleural Effusion"],)),
        Sentence("Opacity somewhere.", Polarity.POSITIVE),
        Sentence("Seen there.", Polarity.POSITIVE, boxes=(GroundedBox(Box(10, 20, 30, 40)),)),
        Sentence("No pneumothorax.", Polarity.NEGATIVE, (uids["Pneumothorax"],)),
        Sentence("No fracture.", Polarity.NEGATIVE),
        Sentence("Unchanged technique.", Polarity.NEUTRAL),
    )
    marked = [
        "Effusion. [1]",
        "Opacity somewhere. [no finding or box supports this sentence]",
        "Seen there. [box x 10-30 y 20-40, no finding]",
        "No pneumothorax. [score Pneumothorax 0.04]",
        "No fracture. [no score stands behind this denial]",
        "Unchanged technique.",
    ]
    pages = crafted.written(tmp_path, "report.pdf", report_pdf(*told))
    printed = subprocess.run(
        [program("pdftotext"), "-layout", pages, "-"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    narrative = _texts(build_narrative(*told))
    for line in marked:
        assert line in report_text(told[0])
        assert line in narrative
        assert line in printed
    said = _items(crafted.saved(build_sr(told[0], told[1])))
    comments = [
        [child.TextValue for child in _items(item) if child.ConceptNameCodeSequence[0].CodeValue == "121106"]
        for item in said
        if item.ConceptNameCodeSequence and item.ConceptNameCodeSequence[0].CodeValue == "DRAFT_SENTENCE"
    ]
    assert comments == [
        ["1"],
        ["no finding or box supports this sentence"],
        ["box x 10-30 y 20-40, no finding"],
        ["score Pneumothorax 0.04"],
        ["no score stands behind this denial"],
        [],
    ]


@pytest.mark.interop
def test_the_orders_indication_is_said_to_be_the_orders_and_breaks_out_of_no_face(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    draft, known = _told("findings")
    words = "Cough <b>& fever</b> | ^ \u03b1"
    said = f"Indication (from the order): {words}"
    pages = crafted.written(tmp_path, "report.pdf", report_pdf(draft, known, indication=words))
    printed = subprocess.run(
        [program("pdftotext"), "-layout", pages, "-"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said[:-2] in printed
    lines = report_text(draft, indication=words).splitlines()
    assert lines.count(said) == 1 and lines[0] == report_text(draft).splitlines()[0]
    assert [line for line in lines if line != said] == report_text(draft).splitlines()
    report = crafted.saved(build_narrative(draft, known, indication=words))
    (section,) = [
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121109"
    ]
    # In the source's character set, as every word of ours.
    assert [item.TextValue for item in section.ContentSequence] == [f"{said[:-1]}?"]
    assert not any("Indication" in line for line in _texts(build_narrative(draft, known)))


@pytest.mark.interop
def test_critical_findings_and_scores_of_what_was_called_absent_are_in_every_face_with_words(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    draft, known = _with_sentences(Sentence("Opacity somewhere.", Polarity.POSITIVE))
    critical = (CriticalFinding("Pneumothorax", ("report",), 0.04, "1"),)
    told = replace(draft, critical=critical)
    (reading,) = told.readings
    pages = crafted.written(tmp_path, "report.pdf", report_pdf(told, known))
    printed = subprocess.run(
        [program("pdftotext"), "-layout", pages, "-"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    picture = reading_text(told, reading, "now", "image 1 of 1", "AI")
    faces = {
        "text": report_text(told),
        "pages": printed,
        "narrative": "\n".join(_texts(build_narrative(told, known))),
        "report": "\n".join(_texts(crafted.saved(build_sr(told, known)))),
        "picture": "\n".join([*picture.warnings, *(line.text for line in picture.legend)]),
    }
    for name, face in faces.items():
        assert "LOOK FIRST: possible Pneumothorax" in face, name
        assert "Opacity somewhere." in face, name
        negative = (
            "AI: Pneumothorax, absent (0.04)"
            if name == "report"
            else "Called absent (score): Pneumothorax 0.04"
        )
        assert negative in face, name
    assert "Stated without a finding or box: Opacity somewhere." in faces["picture"]
    assert "no finding or box supports this sentence" in faces["report"]


@pytest.mark.interop
@pytest.mark.parametrize("outcome", _OUTCOMES)
def test_every_page_says_that_it_is_an_ai_draft(
    program: Callable[[str], Path], tmp_path: Path, outcome: str
) -> None:
    draft, known = _told(outcome)
    pdf = report_pdf(draft, known)
    assert pdf == report_pdf(draft, known), "the same Draft has the same pages"
    path = crafted.written(tmp_path, "report.pdf", pdf)
    done = subprocess.run(
        [program("pdftotext"), path, "-"], capture_output=True, text=True, timeout=60, check=True
    )
    pages = done.stdout.split("\f")[:-1]
    subprocess.run([program("pdftoppm"), "-r", "40", "-png", path, tmp_path / "page"], timeout=60, check=True)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(tmp_path.glob("page*.png"))]
    assert len(pages) == len(pictures) >= 1
    assert all(map(marked_page, pages, pictures))
    assert "P-77" in pages[0], "pages that leave their object still name the patient"


@pytest.mark.parametrize("name", ["Παπαδόπουλος^Γιώργος", "山田^太郎", "김^철수", "Müller^Jörg"])
def test_pages_are_made_whatever_letters_a_name_has(name: str) -> None:
    header = crafted.radiograph(charset="ISO_IR 192", PatientName=name)
    assert report_pdf(crafted.draft([header]), crafted.sources(header)).startswith(b"%PDF-")


@pytest.mark.parametrize("outcome", _OUTCOMES)
def test_summary_page_is_there_even_where_no_image_can_be_shown(outcome: str) -> None:
    draft, known = _told(outcome)
    hidden = {uid: SourceImage(source.header) for uid, source in known.items()}
    page = crafted.saved(build_summary(draft, hidden))
    assert (page.BurnedInAnnotation, page.PhotometricInterpretation) == ("YES", "RGB")
    assert page.pixel_array.std() > 5
    assert len(page.SourceImageSequence) == 1


def test_summary_page_is_the_first_of_the_series_of_pictures() -> None:
    header = crafted.radiograph()
    faces = build_faces(crafted.draft([header]), crafted.sources(header), kinds=frozenset({"sc", "summary"}))
    pictures = sorted((crafted.parsed(face.content) for face in faces), key=lambda d: int(d.InstanceNumber))
    assert len({picture.SeriesInstanceUID for picture in pictures}) == 1
    assert [int(picture.InstanceNumber) for picture in pictures] == [1, 2]
    assert "Words of draft" in pictures[0].DerivationDescription


@pytest.mark.interop
def test_every_page_says_whole_whose_draft_it_is_however_long_the_model_s_statement(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    header = crafted.radiograph()
    statement = "NOT FOR CLINICAL USE. " + " ".join(f"word{number}" for number in range(60)) + " end"
    draft = crafted.draft([header])
    draft = replace(draft, model=replace(draft.model, statement=statement))
    pages = tmp_path / "report.pdf"
    pages.write_bytes(report_pdf(draft, crafted.sources(header)))
    # The first and the last 62 points (22 mm) of the page, of 842.
    for top, number in ((0, ""), (842 - 62, "page 1")):
        read = subprocess.run(
            [
                program("pdftotext"),
                "-f",
                "1",
                "-l",
                "1",
                "-x",
                "0",
                "-y",
                str(top),
                "-W",
                "595",
                "-H",
                "62",
                pages,
                "-",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert statement in " ".join(read.stdout.split())
        assert number in read.stdout


def test_encapsulated_pages_are_the_pages(program: Callable[[str], Path], tmp_path: Path) -> None:
    draft, known = _told("findings")
    pages = report_pdf(draft, known)
    (face,) = build_faces(draft, known, kinds=frozenset({"pdf"}))
    document = crafted.parsed(face.content)
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == pages
    assert (document.MIMETypeOfEncapsulatedDocument, document.VerificationFlag) == (
        "application/pdf",
        "UNVERIFIED",
    )
    path = crafted.written(tmp_path, "report.pdf", pages)
    subprocess.run(
        [program("pdftoppm"), "-r", "40", "-png", "-singlefile", path, tmp_path / "page"],
        timeout=60,
        check=True,
    )
    page = np.asarray(Image.open(BytesIO((tmp_path / "page.png").read_bytes())))
    assert page.std() > 20, "the picture is on it"


def test_wording_of_the_site_is_in_every_face_and_cannot_hide_the_machine() -> None:
    header = crafted.radiograph()
    profile = SiteProfile(
        banner="AI - research",
        draft_title="AI draft, unread",
        series_prefix="Clinic AI",
        time_zone="Asia/Tokyo",
    )
    draft, known = crafted.draft([header]), crafted.sources(header)
    for face in build_faces(draft, known, profile, kinds=ALL_KINDS):
        assert crafted.parsed(face.content).SeriesDescription.startswith("Clinic AI")
    assert report_text(draft, profile).startswith("AI draft, unread")
    for wrong in ({"banner": "Result"}, {"draft_title": "AI report"}, {"series_prefix": "Clinic"}):
        with pytest.raises(ValueError, match="must say"):
            SiteProfile(**wrong)  # type: ignore[arg-type]
