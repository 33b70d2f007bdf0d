"""An ORU^R01 says what the Draft says, in every version, and no text can break out of its field."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as foreign_parse
from hypothesis import given
from hypothesis import strategies as st

from clinical import CriticalFinding, DraftOutcome, Permanent, Score
from hl7_fhir import PatientUnmatched
from hl7_fhir.v2 import CHARSETS, NotEncodable, OruProfile, build_oru, lane_of, parse_message, withdrawal_of
from hl7_fhir.v2.charset import escape, unescape
from hl7_fhir.v2.mllp import FrameReader, framed
from hl7_fhir.v2.priority import without_priority
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, NOW, PNEUMOTHORAX, STATEMENT, draft

NAMED = replace(HEADER, patient_name="Müller^Jörg^^Dr.", birth_date="1970-01-31", sex="M")
PROFILE = OruProfile(default_authority="HOSP&1.2.3&ISO")
VERSIONS = ("2.3.1", "2.4", "2.5.1")


def oru(profile: OruProfile = PROFILE, **given_: Any) -> bytes:
    made = given_.pop("draft", None) or draft()
    header = given_.pop("header", NAMED)
    text = given_.pop("report_text", "first line\nsecond line")
    return build_oru(made, header, profile, receiver="ehr", report_text=text, **given_)


def obx(message: bytes) -> list[list[str]]:
    """Number, type, code, sub-ID, value and status of each OBX."""
    return [[each.raw(n) for n in (1, 2, 3, 4, 5, 11)] for each in parse_message(message).all("OBX")]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("outcome", DraftOutcome)
def test_another_makers_checker_finds_the_structure_whole(version: str, outcome: DraftOutcome) -> None:
    message = oru(replace(PROFILE, version=version), draft=draft(outcome), withdrawn=(EDEMA,))
    parsed = foreign_parse(message.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert parsed.validate()
    assert parsed.msh.msh_12.value == version
    group = parsed.oru_r01_patient_result if version == "2.5.1" else None
    if group is not None:
        assert group.oru_r01_patient.pid.pid_3.pid_3_1.value == "P1"
        assert group.oru_r01_order_observation.obr.obr_25.value == "P"


def priority_of(message: bytes) -> list[str]:
    """OBR-5, OBR-27 and the TQ1 segments."""
    sent = parse_message(message)
    request = sent.first("OBR")
    return [request.raw(5), request.raw(27), *map(str, sent.all("TQ1"))]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_critical_result_is_stat_where_the_site_wants_it_and_no_other_says_anything(version: str) -> None:
    raised = replace(draft(), critical=(CriticalFinding("Pleural Effusion", ("report",), 0.9, "1"),))
    plain = replace(PROFILE, version=version)
    wanting = replace(plain, raises_priority=True)
    sent = oru(wanting, draft=raised)
    parsed = foreign_parse(sent.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert parsed.validate()
    if version == "2.5.1":
        order = parsed.oru_r01_patient_result.oru_r01_order_observation
        assert order.oru_r01_timing_qty.tq1.tq1_9.value == "S^Stat^HL70485"
        assert priority_of(sent) == ["", "", "TQ1|1||||||||S^Stat^HL70485"]
    else:
        assert priority_of(sent) == ["S", "^^^^^S"]
        flat = foreign_parse(sent.decode(), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
        assert (flat.obr.obr_5.value, flat.obr.obr_27.tq_6.value) == ("S", "S")
    untold = [oru(plain, draft=raised), oru(wanting), withdrawal_of(sent, NOW)]
    assert [priority_of(each) for each in untold] == [["", ""]] * 3
    # Nothing else in the message differs.
    assert str(without_priority(parse_message(sent))) == str(parse_message(untold[0]))
    assert foreign_parse(untold[2].decode(), validation_level=VALIDATION_LEVEL.STRICT).validate()


def test_the_checker_does_see_what_is_missing() -> None:
    broken = str(parse_message(oru())).replace("OBR|1||A1|36554-4^XR Chest Single view^LN|", "OBR|1||A1||")
    with pytest.raises(Exception, match="OBR_4"):
        foreign_parse(broken, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True).validate()


@pytest.mark.parametrize("outcome", DraftOutcome)
def test_the_first_result_is_the_banner_and_nothing_is_ever_final(outcome: DraftOutcome) -> None:
    for status, letter in (("P", "P"), ("R", "R")):
        message = oru(replace(PROFILE, draft_result_status=status), draft=draft(outcome))
        rows = obx(message)
        assert rows[0][4].startswith(f"AI DRAFT, UNSIGNED: {STATEMENT}")
        assert {row[5] for row in rows} == {letter}
        assert parse_message(message).first("OBR").raw(25) == letter
        # OBR-32 names the interpreter: there is none.
        assert parse_message(message).first("OBR").raw(32) == ""
    with pytest.raises(ValueError, match="draft"):
        OruProfile(draft_result_status="F")


def test_each_finding_has_a_sub_id_with_presence_score_tracking_uid_and_box() -> None:
    rows = obx(oru())
    effusion = [row for row in rows if row[3] == "2"]
    assert [row[2].split("^")[0] for row in effusion] == ["60046008", "112040", "111012", "111030"]
    assert effusion[0][4].startswith("52101004^Present^SCT")
    assert effusion[1][4] == EFFUSION.uid
    assert effusion[2][4] == "90.00"
    assert effusion[3][4] == "Pleural Effusion, right: img 1, box x1-30 y2-40"
    absent = [row for row in rows if row[3] == "3"]
    assert absent[0][4].startswith("2667000^Absent^SCT")
    assert "111030" not in {row[2].split("^")[0] for row in absent}


def test_a_calibrated_score_stands_beside_the_raw_one_with_what_it_was_calibrated_by() -> None:
    calibrated = replace(EFFUSION, score=Score(0.9, 0.5, 0.75, "400 images & more 1a2b"))
    rows = parse_message(oru(draft=draft(findings=(calibrated,)))).all("OBX")
    scores = {row.raw(3).split("^")[0]: row for row in rows if row.raw(2) == "NM"}
    assert scores["111012"].raw(5) == "90.00" and len(scores) == 2
    assert scores["CALIBRATED_SCORE"].raw(5) == "75.00"
    assert scores["CALIBRATED_SCORE"].raw(17) == "^400 images \\T\\ more 1a2b"


def test_a_finding_gone_from_version_2_is_marked_wrong() -> None:
    rows = obx(oru(draft=draft(version=2, findings=(PNEUMOTHORAX,)), withdrawn=(EFFUSION, PNEUMOTHORAX)))
    gone = [row for row in rows if row[5] == "W"]
    assert [row[4] for row in gone if row[2].startswith("112040")] == [EFFUSION.uid]


def test_the_same_draft_is_the_same_message_and_a_new_version_has_a_new_control_id() -> None:
    assert oru() == oru()
    first, second = parse_message(oru()), parse_message(oru(draft=draft(version=2)))
    assert first.control_id != second.control_id
    assert len(first.control_id) == len(second.control_id) == 20
    # OBR-3 names the result, not its version.
    assert first.first("OBR").raw(3) == second.first("OBR").raw(3) == "A1"


def test_the_orders_numbers_and_code_are_kept() -> None:
    header = replace(NAMED, placer_order_number="ORD-7", filler_order_number="F-7")
    request = parse_message(oru(header=header)).first("OBR")
    assert (request.raw(2), request.raw(3), request.raw(18)) == ("ORD-7", "F-7", "A1")
    without = parse_message(oru(header=replace(NAMED, accession_number=""))).first("OBR")
    assert without.component(3, 2) == "RADDRAFT" and without.component(3)


def test_a_patient_without_a_mapped_authority_is_held() -> None:
    for header, profile in (
        (replace(NAMED, patient_id=""), PROFILE),
        (replace(NAMED, issuer_of_patient_id="ELSEWHERE"), PROFILE),
        (NAMED, OruProfile()),
    ):
        with pytest.raises(PatientUnmatched):
            oru(profile, header=header)
    mapped = OruProfile(issuers={"ELSEWHERE": "OTHER"})
    message = oru(mapped, header=replace(NAMED, issuer_of_patient_id="ELSEWHERE"))
    assert parse_message(message).first("PID").raw(3) == "P1^^^OTHER^MR"


def test_ideographic_and_phonetic_names_are_repetitions_of_their_own() -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    pid = parse_message(oru(header=replace(NAMED, patient_name=name))).first("PID")
    assert pid.repetitions(5) == 3
    assert [pid.component(5, 8, repetition=n) for n in (1, 2, 3)] == ["A", "I", "P"]
    assert pid.component(5, 1, repetition=2) == "山田"
    # PN orders prefix before suffix, XPN after it.
    assert parse_message(oru()).first("PID").raw(5) == "Müller^Jörg^^^Dr."


@pytest.mark.parametrize("charset", [name for name in CHARSETS if name])
def test_the_message_is_written_in_the_set_it_names(charset: str) -> None:
    plain = replace(NAMED, patient_name="Mueller^Joerg")
    message = oru(replace(PROFILE, charset=charset), header=plain)
    assert parse_message(message).first("MSH").raw(18) == charset
    message.decode(CHARSETS[charset])


def test_what_a_set_lacks_is_held_or_written_in_its_nearest_letters_never_as_question_marks() -> None:
    polish = replace(NAMED, patient_name="Wałęsa^Żaneta")
    latin = replace(PROFILE, charset="8859/1")
    assert b"M\xfcller" in oru(latin)
    with pytest.raises(NotEncodable):
        oru(latin, header=polish)
    assert b"Walesa^Zaneta" in oru(replace(latin, transliterate=True), header=polish)
    with pytest.raises(NotEncodable):
        oru(replace(latin, transliterate=True), header=replace(NAMED, patient_name="山田^太郎"))


_NASTY = st.text(st.sampled_from("a|^~\\&\r\n\x0b\x1c\x00\x1b é山\u2028\x85")) | st.text()


@given(_NASTY, _NASTY)
def test_no_text_breaks_out_of_its_field_segment_or_frame(report: str, name: str) -> None:
    message = oru(report_text=report, header=replace(NAMED, patient_name=name))
    # Nothing that comes from outside adds a segment of another kind, and one frame holds one message.
    rows = [each.name for each in parse_message(message).segments]
    assert rows[:4] == ["MSH", "PID", "ORC", "OBR"] and set(rows[4:]) == {"OBX"}
    assert FrameReader(1 << 20).feed(framed(message)) == [message]
    assert all(row[0] == str(number) for number, row in enumerate(obx(message), start=1))
    assert all(row[5] == "P" for row in obx(message))


@given(_NASTY)
def test_escaping_loses_nothing_but_control_characters(text: str) -> None:
    written = escape(text)
    assert not set("|^~&\r\n\x0b\x1c") & set(written)
    letters = [c for c in text if c.isalnum() or c in "|^~\\&"]
    assert [c for c in unescape(written) if c.isalnum() or c in "|^~\\&"] == letters


def test_a_frame_inside_a_message_is_never_sent() -> None:
    for inside in (b"\x0b", b"\x1c"):
        with pytest.raises(Permanent, match="hl7-framing"):
            framed(b"MSH|^~\\&|" + inside)


def test_formatted_text_is_one_result_with_line_breaks() -> None:
    rows = [row for row in obx(oru(replace(PROFILE, formatted_text=True))) if row[1] == "FT"]
    assert [row[4] for row in rows] == ["first line\\.br\\second line"]


def test_pdf_or_link_are_a_choice() -> None:
    pdf = b"%PDF-1.7 a picture"
    assert "ED" not in {row[1] for row in obx(oru(pdf=pdf))}
    (ed,) = [row for row in obx(oru(replace(PROFILE, attachment="pdf"), pdf=pdf)) if row[1] == "ED"]
    assert base64.b64decode(ed[4].split("^")[4]) == pdf
    link = "https://viewer.example/?study={study_instance_uid}&acc={accession_number}"
    message = oru(replace(PROFILE, attachment="link", link=link), pdf=pdf)
    (rp,) = [each for each in parse_message(message).all("OBX") if each.raw(2) == "RP"]
    assert rp.component(5) == "https://viewer.example/?study=1.2.3.4&acc=A1"


def test_a_retraction_repeats_the_message_as_wrong_with_a_control_id_of_its_own() -> None:
    sent = oru()
    back = withdrawal_of(sent, NOW, "wrong | patient")
    assert back == withdrawal_of(sent, NOW, "wrong | patient")
    message = parse_message(back)
    assert message.control_id != parse_message(sent).control_id
    assert message.first("OBR").raw(25) == "X"
    assert {row[5] for row in obx(back)} == {"W"}
    assert message.first("OBX").component(5) == "AI DRAFT, RETRACTED: wrong | patient"
    ascii_only = withdrawal_of(
        oru(replace(PROFILE, charset="ASCII", transliterate=True)), NOW, "falsche Größe 山"
    )
    assert b"falsche Grosse" in ascii_only
    foreign_parse(back.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True).validate()


def test_a_lane_is_one_accession_at_one_receiver() -> None:
    other_study = replace(NAMED, study_instance_uid="1.2.3.9")
    assert lane_of("ehr", NAMED) == lane_of("ehr", other_study)
    assert lane_of("ehr", NAMED) != lane_of("other", NAMED)
    bare = replace(NAMED, accession_number="")
    assert lane_of("ehr", bare) != lane_of("ehr", replace(bare, study_instance_uid="1.2.3.9"))
