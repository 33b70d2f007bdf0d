"""Patient and study are the source's own, byte for byte, whatever its header holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from clinical import DraftOutcome, Polarity, Quarantine, Sentence
from imaging import read_header
from reporting import Artefact, SourceImage, build_faces
from tests.reporting import crafted

_COPIED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)


def _raw(dataset: Dataset, keyword: str) -> object:
    """Value as it stands in the file, without padding; None where the attribute is absent."""
    tag = Tag(keyword)
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    # Only the character set is parsed while a file is read.
    return (
        (element.value or b"").rstrip(b" \0") if isinstance(element, RawDataElement) else str(element.value)
    )


def _faces(header: Dataset, text: str = "Effusion ≥ 2 cm – “large”.") -> tuple[Artefact, ...]:
    radiograph = crafted.source_image(crafted.radiograph()).radiograph
    draft = crafted.draft([header])
    reading = replace(draft.readings[0], sentences=(Sentence(text, Polarity.POSITIVE),))
    source = SourceImage(header, radiograph)
    return build_faces(replace(draft, readings=(reading,)), {str(header.SOPInstanceUID): source})


@pytest.mark.parametrize(
    ("charset", "name", "quoted"),
    [
        ("ISO_IR 100", "Müller^Jörg", "Effusion >= 2 cm"),
        ("ISO_IR 126", "Διονυσιος", 'Effusion >= 2 cm - "large".'),
        ("ISO_IR 192", "王^小東", "Effusion ≥ 2 cm – “large”."),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", 'Effusion >= 2 cm - "large".'),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", 'Effusion >= 2 cm - "large".'),
        (None, "Doe^Jane", 'Effusion >= 2 cm - "large".'),
    ],
)
def test_patient_keeps_bytes_and_charset_and_our_words_fit_it(
    charset: str | Sequence[str] | None, name: str, quoted: str
) -> None:
    header = crafted.radiograph(charset=charset, PatientName=name, StudyDescription="Chest")
    for face in _faces(header):
        made = crafted.parsed(face.content)
        for keyword in _COPIED:
            assert _raw(made, keyword) == _raw(crafted.saved(header), keyword), keyword
        made.decode()
        assert str(made.PatientName) == name
        if face.kind == "sr":
            words = [str(i.value) for i in made.iterall() if i.keyword == "TextValue"]
            assert any(word.startswith(quoted) for word in words)
            assert any("replaced by" in word for word in words) is (charset != "ISO_IR 192")


def test_what_the_source_does_not_know_stays_empty() -> None:
    header = crafted.radiograph(charset=None)
    for keyword in _COPIED[1:]:
        if keyword != "StudyInstanceUID" and keyword in header:
            delattr(header, keyword)
    for face in _faces(header):
        made = crafted.parsed(face.content)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"):
            assert made[keyword].value in ("", None)
        assert "IssuerOfPatientID" not in made


def _dirty(header: Dataset, keyword: str, vr: str, value: object) -> None:
    header[keyword] = DataElement(Tag(keyword), vr, value, validation_mode=config.IGNORE)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientName", "PN", "^^^^^^no person = at = all = of = these"),
        ("PatientName", "LO", "wrong\\representation"),
        ("PatientBirthDate", "DA", "1961.02.03"),
        ("PatientBirthDate", "DA", "in spring"),
        ("PatientSex", "CS", "female, probably"),
        ("PatientID", "UN", b"\xff\xfe raw"),
        ("StudyDate", "DA", ["20240101", "20240102"]),
        ("StudyTime", "TM", "25:61"),
        ("StudyID", "SH", "a study id that is far too long for its representation"),
        ("StudyID", "SQ", []),
        ("AccessionNumber", "SH", None),
        ("SpecificCharacterSet", "CS", "no such set"),
        ("StudyInstanceUID", "UI", "1.02.0003"),
        ("SeriesInstanceUID", "UI", "1." + "2" * 70),
        ("SOPInstanceUID", "UI", "1.2.03.4"),
        ("TimezoneOffsetFromUTC", "SH", "CET"),
        ("WindowWidth", "DS", "0"),
        ("WindowCenter", "DS", ""),
        ("PixelSpacing", "DS", ["0", "0"]),
        ("PatientOrientation", "CS", "LEFT"),
        ("ProcedureCodeSequence", "SQ", [Dataset()]),
        ("RequestAttributesSequence", "SQ", [Dataset()]),
        ("RequestAttributesSequence", "LO", "no sequence"),
        ("VOILUTSequence", "SQ", [Dataset()]),
        ("RescaleSlope", "DS", "0"),
    ],
)
def test_dirty_header_never_stops_a_result(keyword: str, vr: str, value: object) -> None:
    header = crafted.radiograph()
    _dirty(header, keyword, vr, value)
    faces = _faces(header)
    assert [face.kind for face in faces] == ["sr", "pr", "sc"]
    assert faces == _faces(header)
    if vr == "UI":
        values = {
            str(e.value) for face in faces for e in crafted.parsed(face.content).iterall() if e.VR == "UI"
        }
        assert str(value) in values


def test_any_real_header_can_be_answered(real_files: Path) -> None:
    answered = 0
    for path in sorted(real_files.rglob("*.dcm")):
        try:
            header = read_header(path)
        except Quarantine:
            continue
        if not (
            header.get("SOPInstanceUID") and header.get("SeriesInstanceUID") and header.get("SOPClassUID")
        ):
            continue
        draft = crafted.unread_draft([header], DraftOutcome.NOT_ASSESSED)
        known = {str(header.SOPInstanceUID): SourceImage(header)}
        [face] = build_faces(replace(draft, study_instance_uid=str(header.get("StudyInstanceUID"))), known)
        assert crafted.parsed(face.content).get("PatientID", "") == (header.get("PatientID") or "")
        answered += 1
    assert answered > 10


def test_wrongly_encoded_name_keeps_its_bytes(tmp_path: Path) -> None:
    header = crafted.radiograph(charset="ISO_IR 192", PatientName="Mxller^Jane", StudyDescription="Thxrax")
    path = tmp_path / "image.dcm"
    header.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"Mxller", b"M\xfcller").replace(b"Thxrax", b"Th\xf6rax"))
    for face in _faces(read_header(path)):
        made = crafted.parsed(face.content)
        assert _raw(made, "PatientName") == b"M\xfcller^Jane"
        assert _raw(made, "StudyDescription") == b"Th\xf6rax"


def test_real_japanese_and_korean_names_keep_their_bytes(real_files: Path) -> None:
    files = sorted((real_files / "not_cxr").glob("charset_*.dcm"))
    for path in files:
        header = read_header(path)
        source = {str(header.SOPInstanceUID): SourceImage(header)}
        [face] = build_faces(crafted.unread_draft([header], DraftOutcome.NOT_ASSESSED), source)
        original = dcmread(path)
        for keyword in _COPIED:
            if keyword in original:
                assert _raw(crafted.parsed(face.content), keyword) == _raw(original, keyword), (
                    path.name,
                    keyword,
                )
    assert files
