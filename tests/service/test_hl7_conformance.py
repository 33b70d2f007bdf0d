"""The HL7 v2 conformance statement says what is in the messages: not less, and not more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinical import CriticalFinding, DraftOutcome, Score
from hl7_fhir import StudyHeader
from hl7_fhir.v2 import (
    EVENTS,
    VERSIONS,
    Message,
    OruProfile,
    Segment,
    build_oru,
    custom_fields,
    parse_message,
    withdrawal_of,
)
from hl7_fhir.v2.custom_fields import FREE_FIELDS
from hl7_fhir.v2.fields import READ, SENT
from service.cli.app import build_app
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, NOW, PNEUMOTHORAX, draft
from tests.service.hospital import LISTENING, a40, answer_code, opened, orm, oru, received

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "hl7v2-conformance.md"
_FULL = replace(
    HEADER,
    patient_name="SMITH^JOHN",
    birth_date="1960-01-01",
    sex="M",
    placer_order_number="PL1",
    filler_order_number="FI1",
)


def messages() -> Iterator[Message]:
    """Every shape of ORU that is sent: versions, settings, results, and what takes them back."""
    sure = replace(EFFUSION, score=Score(0.9, 0.5, calibrated=0.8, calibration_id="site"))
    drafts = [draft(outcome) for outcome in DraftOutcome]
    drafts.append(draft(version=2, findings=(sure, replace(PNEUMOTHORAX, presence=EFFUSION.presence), EDEMA)))
    drafts.append(replace(drafts[-1], critical=(CriticalFinding("Edema", ("report",), 0.8, "1"),)))
    bare: StudyHeader = replace(HEADER, accession_number="", study_datetime="")
    for version in VERSIONS:
        settings = {"version": version, "default_authority": "HOSP&1.2.3&ISO", "issuers": {}}
        profiles = [
            OruProfile(**settings, sending_application="", charset=""),
            OruProfile(
                **settings, sending_facility="A", receiving_application="B", receiving_facility="C",
                draft_result_status="R", formatted_text=True, attachment="pdf", enhanced=True,
                raises_priority=True,
            ),
            OruProfile(
                **settings, attachment="link", link="http://viewer/{study_instance_uid}",
                fields=custom_fields({**dict.fromkeys(FREE_FIELDS, "{model_name}"), "ZRD-2": "{impression}"}),
            ),
        ]  # fmt: skip
        for made in drafts:
            for profile in profiles:
                for header in (bare, _FULL):
                    built = build_oru(
                        made,
                        header,
                        profile,
                        receiver="ehr",
                        report_text="text",
                        pdf=b"%PDF",
                        withdrawn=(EDEMA,),
                    )
                    yield parse_message(built)
                    yield parse_message(withdrawal_of(built, NOW))


def filled(each: Segment) -> set[str]:
    return {f"{each.name}-{number}" for number, value in enumerate(each.fields, start=1) if value}


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    """Every segment of every shape of message."""
    return [each for message in messages() for each in message.segments]


def test_the_document_is_what_the_code_says() -> None:
    assert (
        _DOCUMENT.read_text(encoding="utf-8")
        == CliRunner().invoke(build_app(), ["conformance", "hl7v2"]).stdout
    ), "write it anew: raddraft conformance hl7v2 > docs/hl7v2-conformance.md"


def test_exactly_the_listed_fields_are_filled(segments: list[Segment]) -> None:
    seen = set().union(*map(filled, segments))
    # Z segments are as the site's own settings say, and no others are there.
    assert seen == {use.place for use in SENT if use.usage != "X"} | {"ZRD-2"}


def test_a_required_field_is_filled_in_every_segment(segments: list[Segment]) -> None:
    required = {use.place for use in SENT if use.usage == "R"}
    for each in segments:
        assert {place for place in required if place.startswith(f"{each.name}-")} <= filled(each)


def test_nothing_is_final_and_nobody_has_interpreted_anything(segments: list[Segment]) -> None:
    statuses = {each.raw(25) for each in segments if each.name == "OBR"}
    assert statuses == {"P", "R", "X"}
    assert {each.raw(11) for each in segments if each.name == "OBX"} == {"P", "R", "W"}


@pytest.mark.parametrize("kind", EVENTS)
def test_exactly_the_listed_fields_of_a_message_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    read: set[str] = set()
    plain = Segment.raw

    def noted(self: Segment, number: int) -> str:
        read.add(f"{self.name}-{number}")
        return plain(self, number)

    imaging, enhanced = "OMI^O23^OMI_O23", "P|2.5.1|||AL|NE"
    extra = b"IPC|ACC-1||1.2.3.4\rZDS|1.2.3.4\r"
    order = b"OBX|1|ST|110180^Study Instance UID^DCM||1.2.3.4\r" + extra
    whole = {
        "ORU": [
            oru(),
            oru(control_id="M2", status="") + extra,
            oru(control_id="M3", header="P|2.5.1|||AL|NE"),
        ],
        "ADT": [a40(), a40(control_id="M2", kind="ADT^A34")],
        "ORM": [orm(), orm(control_id="M2", reason="", header="P|2.5.1|||AL|NE") + order],
        "OMI": [orm(kind=imaging), orm(control_id="M2", reason="", kind=imaging, header=enhanced) + order],
    }
    with opened(tmp_path, LISTENING) as house:
        received(house, tmp_path)
        monkeypatch.setattr(Segment, "raw", noted)
        assert {answer_code(house, message) for message in whole[kind]} <= {"AA", "CA"}
    answers = {"MSA-1"}
    # MSH-18 is read off the bytes, before there are segments.
    assert read - answers == {use.place for use in READ[kind]}


def test_an_event_that_is_not_listed_is_rejected(tmp_path: Path) -> None:
    with opened(tmp_path, LISTENING) as house:
        for kind in ("ADT^A08", "ORM^Z99", "SIU^S12", "ORU^R30"):
            assert answer_code(house, oru(kind=kind)) == "AR"
