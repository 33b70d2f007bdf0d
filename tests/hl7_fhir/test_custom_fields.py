"""A site's own fields of an ORU say what its templates say, and nothing else of the message changes by them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as foreign_parse
from hypothesis import given
from hypothesis import strategies as st

from clinical import (
    CheckResult,
    CheckStatus,
    CriticalFinding,
    Draft,
    DraftOutcome,
    Score,
    Sentence,
    merge_study_findings,
)
from hl7_fhir import StudyHeader
from hl7_fhir.v2 import (
    NotEncodable,
    OruProfile,
    ValueTooLong,
    build_oru,
    custom_fields,
    lane_of,
    lane_of_message,
    parse_message,
    withdrawal_of,
)
from hl7_fhir.v2.draft_values import OF_LABEL, ORIGIN, REPORT_TEXT, RESULT
from hl7_fhir.v2.mllp import FrameReader, framed
from tests.hl7_fhir.drafts import EFFUSION, HEADER, NOW, PNEUMOTHORAX, STATEMENT, draft

PROFILE = OruProfile(default_authority="HOSP&1.2.3&ISO")
EVERY_NAME = (*REPORT_TEXT, *RESULT, *ORIGIN, *(f"label.Pleural Effusion.{each}" for each in OF_LABEL))
# Every value that comes from outside, put everywhere it can go.
EVERYWHERE = {
    "OBR-19": "{model_name}", "OBR-20": "{model_version}", "OBR-21": "{label.Edema.state}",
    "ZRD-1": "{impression}", "ZRD-2.1": "{findings}", "ZRD-2.3": "{critical}", "ZAI-4": "{accession_number}",
    "ZDS-1": "{study_instance_uid}",
}  # fmt: skip


def told(text: str = "Small right effusion.", version: int = 1, model: str = "m") -> Draft:
    """A draft whose reading has a sentence, and whose study has its findings."""
    made = draft(version=version)
    (reading,) = made.readings
    sure = replace(EFFUSION, score=Score(0.9, 0.5, calibrated=0.75, calibration_id="site"))
    reading = replace(reading, findings=(sure, PNEUMOTHORAX), sentences=(Sentence(text),))
    return replace(
        made,
        readings=(reading,),
        study_findings=merge_study_findings((reading,)),
        model=replace(made.model, name=model),
        critical=(CriticalFinding("Pleural Effusion", ("report",), 0.9, "1"),),
    )


def oru(
    fields: Mapping[str, str],
    made: Draft | None = None,
    profile: OruProfile = PROFILE,
    header: StudyHeader = HEADER,
) -> bytes:
    profile = replace(profile, fields=custom_fields(fields))
    return build_oru(made or told(), header, profile, receiver="ris", report_text="text")


def value(template: str) -> str:
    return parse_message(oru({"ZRD-1": template})).first("ZRD").component(1)


def test_every_name_is_what_the_draft_says() -> None:
    assert {name: value(f"{{{name}}}") for name in EVERY_NAME} == {
        "impression": f"AI DRAFT, UNSIGNED: {STATEMENT} 1. Pleural Effusion, right.",
        "findings": f"AI DRAFT, UNSIGNED: {STATEMENT} Small right effusion.",
        "outcome": "findings",
        "critical": "Pleural Effusion",
        "study_instance_uid": "1.2.3.4",
        "accession_number": "A1",
        "draft_version": "1",
        "completed_at": "20260102030405+0000",
        "model_name": "m",
        "model_version": "1",
        "product_version": "0",
        "label.Pleural Effusion.state": "present",
        "label.Pleural Effusion.side": "right",
        "label.Pleural Effusion.score": "90.00",
        "label.Pleural Effusion.calibrated_score": "75.00",
    }
    assert value("{label.pneumothorax.state}") == "absent"
    assert value("{label.Rib fracture.state}") == "not-assessed"
    assert value("draft {draft_version}: {outcome} | {model_name}") == "draft 1: findings | m"


def test_what_a_check_withholds_is_in_no_field() -> None:
    made = told()
    (reading,) = made.readings
    failed = CheckResult("score-agrees", "1", CheckStatus.FAIL, "the score says otherwise")
    for sentences in ((), (Sentence("Withheld.", checks=(failed,)),)):
        bare = replace(made, readings=(replace(reading, sentences=sentences),))
        assert parse_message(oru({"ZRD-1": "{findings}"}, bare)).first("ZRD").raw(1) == '""'


def test_an_empty_value_tells_the_receiver_to_delete_what_stood_there() -> None:
    fields = {
        "OBR-19": "{label.Edema.score}",
        "ZRD-1.2": "{label.Edema.score}",
        "ZRD-3": "{label.Edema.side}",
    }
    message = parse_message(oru(fields))
    assert message.first("OBR").raw(19) == '""'
    assert (message.first("ZRD").raw(1), message.first("ZRD").raw(3)) == ('^""', '""')


def test_z_segments_follow_the_last_result_in_the_order_of_the_settings() -> None:
    fields = {"ZZZ-2": "b", "ZRD-2.2": "d", "ZRD-1": "c", "ZZZ-1": "a"}
    names = [each.name for each in parse_message(oru(fields)).segments]
    assert names[-2:] == ["ZZZ", "ZRD"] and names[-3] == "OBX"
    assert [str(each) for each in parse_message(oru(fields)).segments[-2:]] == ["ZZZ|a|b", "ZRD|c|^d"]


def test_the_alternate_code_of_the_procedure_can_be_the_sites() -> None:
    fields = {"OBR-4.4": "CXR1", "OBR-4.5": "Chest {draft_version}", "OBR-4.6": "L"}
    loinc = parse_message(oru({})).first("OBR").raw(4)
    assert parse_message(oru(fields)).first("OBR").raw(4) == f"{loinc}^CXR1^Chest 1^L"


_REFUSED = {
    "MSH-3": "a", "PID-3": "a", "PID-5.1": "a", "PV1-2": "a", "ORC-2": "a", "ORC-3": "a", "OBR-2": "a", "OBR-3": "a",
    "OBR-4": "a", "OBR-4.1": "a", "OBR-18": "a", "OBR-25": "F", "OBR-32": "a", "OBX-5": "a", "OBX-11": "F",
    "NTE-3": "a", "OBR-19.1": "a", "ZRD": "a", "ZRD-0": "a", "ZRD-01": "a", "ZRD-100": "a", "ZRD-1.0": "a",
    "ZRD-1.21": "a",
    "ZRD-1.1.1": "a", "zrd-1": "a", "ZRDX-1": "a", "Z|\r-1": "a", "ZRD-1\n": "a", "": "a", "ZDS-1": "1.2.3",
    "ZDS-2": "{study_instance_uid}", "OBR-20": "{impression}", "OBR-4.5": "{findings}",
    "OBR-4.4": "{label.Edema.state}", "OBR-4.6": "{critical}", "OBR-21": "x" * 61, "ZRD-1": "{patient_name}",
    "ZRD-2": "{label.Nothing Known.state}", "ZRD-3": "{label.Edema.box}", "ZRD-4": "{}", "ZRD-5": "{impression",
    "ZRD-6": "impression}", "ZRD-7": "{{impression}}", "ZRD-8": "", "ZRD-9": "a\rPID|1", "ZRD-10": " ",
    "ZRD-11": "x" * 1001, "ZRD-12": "{label.Edema.state!r}", "ZRD-13": "{model_name.__class__}",
}  # fmt: skip


@pytest.mark.parametrize(("place", "template"), _REFUSED.items())
def test_what_cannot_be_filled_is_refused_in_one_line(place: str, template: str) -> None:
    with pytest.raises(ValueError, match=re.compile(r"\S")) as refused:
        custom_fields({place: template})
    assert str(refused.value).isprintable()


def test_a_field_is_filled_as_a_whole_or_by_component() -> None:
    with pytest.raises(ValueError, match=r"ZRD-1\.2"):
        custom_fields({"ZRD-1.2": "a", "ZRD-1": "b"})


_WORDS = st.text(st.sampled_from('a|^~\\&\r\n\x0b\x1c\x00{}"é山 \u2028\x85'), max_size=30)
_PIECES = st.lists(
    st.one_of(
        st.sampled_from([f"{{{name}}}" for name in EVERY_NAME if name not in REPORT_TEXT]),
        st.text(st.sampled_from("a|^~\\&\"'é山 .:"), max_size=12),
    ),
    min_size=1,
    max_size=4,
).map("".join)


def untouched(message: bytes) -> list[str]:
    """Everything but the fields a site may fill."""
    kept = []
    for each in parse_message(message).segments:
        if each.name == "OBR":
            each = each.with_raw({19: "", 20: "", 21: "", 4: "^".join(each.raw(4).split("^")[:3])})
        if not each.name.startswith("Z"):
            kept.append(str(each))
    return kept


@given(_WORDS, _WORDS, _WORDS, st.dictionaries(st.sampled_from(["ZQA-1", "ZQA-3.2", "ZQB-9"]), _PIECES))
def test_no_template_and_no_text_makes_a_segment_or_a_field_or_changes_another(
    text: str, model: str, accession: str, templates: dict[str, str]
) -> None:
    fields = EVERYWHERE | {place: each for place, each in templates.items() if each.strip()}
    made, header = told(text, model=model), replace(HEADER, accession_number=accession)
    plain, message = oru({}, made, header=header), oru(fields, made, header=header)
    assert untouched(message) == untouched(plain)
    assert FrameReader(1 << 20).feed(framed(message)) == [message]
    site = [each for each in parse_message(message).segments if each.name.startswith("Z")]
    assert [each.name for each in site] == list(dict.fromkeys(p[:3] for p in fields if p.startswith("Z")))
    filled = {f"{each.name}-{n}" for each in site for n, raw in enumerate(each.fields, start=1) if raw}
    assert filled == {place.split(".")[0] for place in fields if place.startswith("Z")}
    for each in site:
        for number, raw in enumerate(each.fields, start=1):
            parts = [p for p in fields if p.split(".")[0] == f"{each.name}-{number}"]
            highest = max((int(p.partition(".")[2] or 1) for p in parts), default=1)
            assert raw.count("^") == highest - 1 and not set("~&") & set(raw)
    assert lane_of_message("ris", message) == lane_of_message("ris", plain) == lane_of("ris", header)


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1"])
@pytest.mark.parametrize("outcome", DraftOutcome)
def test_another_makers_checker_reads_the_sites_fields(version: str, outcome: DraftOutcome) -> None:
    made = told("a | b ^ c") if outcome is DraftOutcome.FINDINGS else draft(outcome)
    named = replace(HEADER, patient_name="Smith^John")
    message = oru(EVERYWHERE, made, replace(PROFILE, version=version), named)
    # With groups it checks HL7's own structure and passes over Z segments; without, it reads them.
    whole = foreign_parse(message.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert whole.validate()
    read = foreign_parse(message.decode(), find_groups=False)
    assert [each.name for each in read.children][-3:] == ["ZRD", "ZAI", "ZDS"]
    assert read.zrd.zrd_1.to_er7().startswith("AI DRAFT, UNSIGNED: ")
    assert (read.zai.zai_4.to_er7(), read.zds.zds_1.to_er7(), read.obr.obr_19.to_er7()) == (
        "A1",
        "1.2.3.4",
        "m",
    )
    if outcome is DraftOutcome.FINDINGS:
        said = f"AI DRAFT, UNSIGNED: {STATEMENT} a \\F\\ b \\S\\ c^^Pleural Effusion"
        assert read.zrd.zrd_2.to_er7() == said
    back = withdrawal_of(message, NOW)
    assert foreign_parse(back.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True).validate()


def test_the_same_draft_is_the_same_bytes_and_a_retraction_says_nothing_of_the_report() -> None:
    sent = oru(EVERYWHERE)
    assert sent == oru(EVERYWHERE)
    back = parse_message(withdrawal_of(sent, NOW))
    assert withdrawal_of(sent, NOW) == withdrawal_of(sent, NOW)
    assert [str(each) for each in back.segments if each.name.startswith("Z")] == [
        'ZRD|""|""', 'ZAI||||""', "ZDS|1.2.3.4",
    ]  # fmt: skip
    assert [back.first("OBR").raw(number) for number in (19, 20, 21, 25)] == ['""', '""', '""', "X"]
    assert lane_of_message("ris", withdrawal_of(sent, NOW)) == lane_of_message("ris", sent)


def test_a_value_that_is_too_long_is_never_cut() -> None:
    assert (
        parse_message(oru({"OBR-20": "{model_name}"}, told(model="x" * 60))).first("OBR").raw(20) == "x" * 60
    )
    with pytest.raises(ValueTooLong, match="OBR-20"):
        oru({"OBR-20": "{model_name}"}, told(model="x" * 61))
    with pytest.raises(ValueTooLong, match="ZRD-1"):
        oru({"ZRD-1": "{findings}"}, told("x" * 65_536))


def test_the_sites_words_are_written_in_the_receivers_set_like_all_others() -> None:
    latin = replace(PROFILE, charset="8859/1")
    with pytest.raises(NotEncodable):
        oru({"ZRD-1": "Wałęsa"}, profile=latin)
    assert b"\rZRD|Walesa\r" in oru({"ZRD-1": "Wałęsa"}, profile=replace(latin, transliterate=True))
