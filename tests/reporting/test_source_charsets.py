"""Names in the letters of their country come back byte for byte, and what we add can be read beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from clinical import Draft, Polarity, Sentence
from reporting import ALL_KINDS, Charset, SiteProfile, SourceImage, build_faces
from tests.reporting import crafted

# PS3.5 Annexes H (Japanese) and I (Korean), and single-byte and UTF-8 repertoires.
_SOURCES = {
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "japanese-13": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "greek": ("ISO_IR 126", "Διονυσιος"),
    "latin-1": ("ISO_IR 100", "Müller^Jörg"),
    "utf-8": ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
}
_SAID = "Opacity ≥ 3 cm – see “left”."


def _told(charset: str | list[str], name: str) -> tuple[Draft, dict[str, SourceImage]]:
    header = crafted.radiograph(charset=charset, PatientName=name)
    draft = crafted.draft([header])
    reading = replace(draft.readings[0], sentences=(Sentence(_SAID, Polarity.NEUTRAL),))
    return replace(draft, readings=(reading,)), crafted.sources(header)


def _bytes(header: Dataset) -> bytes:
    stored = header.get_item("PatientName")
    assert isinstance(stored, RawDataElement) and stored.value is not None
    return stored.value.rstrip(b" ")


@pytest.mark.parametrize("source", _SOURCES)
def test_names_keep_their_bytes_and_character_set_in_every_face(source: str) -> None:
    charset, name = _SOURCES[source]
    draft, known = _told(charset, name)
    original = _bytes(crafted.radiograph(charset=charset, PatientName=name))
    for face in build_faces(draft, known, kinds=ALL_KINDS):
        dataset = crafted.parsed(face.content)
        assert _bytes(dataset) == original, face.kind
        stated = dataset.SpecificCharacterSet
        assert ([stated] if isinstance(stated, str) else list(stated)) == (
            [charset] if isinstance(charset, str) else charset
        )
        assert str(dataset.PatientName) == name


@pytest.mark.parametrize("source", _SOURCES)
def test_our_words_can_be_written_in_the_sources_set_or_say_that_they_were_changed(source: str) -> None:
    draft, known = _told(*_SOURCES[source])
    report = crafted.parsed(build_faces(draft, known, kinds=frozenset({"sr"}))[0].content)
    texts = [str(e.value) for e in report.iterall() if e.keyword == "TextValue"]
    whole = _SAID in texts
    noted = any("nearest plain letters" in text for text in texts)
    assert whole != noted
    assert whole == (source == "utf-8")
    if noted:
        assert any("Opacity >= 3 cm - see" in text for text in texts)


@pytest.mark.parametrize("source", _SOURCES)
def test_a_site_of_utf_8_gets_the_same_name_in_utf_8(source: str) -> None:
    charset, name = _SOURCES[source]
    draft, known = _told(charset, name)
    for face in build_faces(draft, known, SiteProfile(charset=Charset.UTF_8), kinds=ALL_KINDS):
        dataset = crafted.parsed(face.content)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert _bytes(dataset) == name.encode("utf-8"), face.kind


def test_a_name_that_cannot_be_decoded_for_certain_stays_as_it_is() -> None:
    header = crafted.radiograph(charset="ISO_IR 192")
    header["PatientName"] = header.get_item("PatientName")._replace(value=b"M\xfcller^J ", length=10)
    draft = crafted.draft([header])
    known = {str(header.SOPInstanceUID): SourceImage(header)}
    for kept in (Charset.KEEP, Charset.UTF_8):
        (face,) = build_faces(draft, known, SiteProfile(charset=kept), kinds=frozenset({"narrative"}))
        assert b"M\xfcller^J" in face.content
