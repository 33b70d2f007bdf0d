"""A Draft as an ORU^R01 (HL7 chapter 7.3.1): the same study and version give the same bytes and the same control ID."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from clinical import CodedTerm, Draft, Finding, Presence, Score, derived_uid, is_critical
from hl7_fhir.codes import loinc_of_views
from hl7_fhir.conclusion import conclusion_of
from hl7_fhir.header import StudyHeader
from hl7_fhir.v2.charset import encode, escape
from hl7_fhir.v2.custom_fields import filled_parts, local_fields, z_segments
from hl7_fhir.v2.message import (
    ENCODING_CHARACTERS,
    FIELD,
    Message,
    Segment,
    components,
    parse_message,
    segment,
)
from hl7_fhir.v2.names import person_name
from hl7_fhir.v2.priority import request_fields, timing_segments
from hl7_fhir.v2.profile import OruProfile

REPORT = CodedTerm("18748-4", "LN", "Diagnostic imaging study")
STUDY_UID = CodedTerm("110180", "DCM", "Study Instance UID")
TRACKING_UID = CodedTerm("112040", "DCM", "Tracking Unique Identifier")
CERTAINTY = CodedTerm("111012", "DCM", "Certainty of Finding")
CALIBRATED_SCORE = CodedTerm("CALIBRATED_SCORE", "L", "Calibrated score")
REGION = CodedTerm("111030", "DCM", "Image Region")
PDF = CodedTerm("PDF", "L", "AI draft report")
LINK = CodedTerm("LINK", "L", "AI draft in the viewer")
CONTROL_ID_CHARACTERS = 20
WITHDRAWN = "W"
_SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def build_oru(
    draft: Draft,
    header: StudyHeader,
    profile: OruProfile,
    *,
    receiver: str,
    report_text: str,
    pdf: bytes = b"",
    withdrawn: Sequence[Finding] = (),
) -> bytes:
    """The message, encoded, without its MLLP frame.

    The first OBX is the conclusion, which begins with the draft's banner; the Study Instance UID, the text and the
    findings follow, each finding in OBX segments of one sub-ID (OBX-4): presence, score, tracking UID, boxes.

    Parameters
    ----------
    receiver
        Name of the destination; messages of one Draft to two receivers have control IDs of their own.
    pdf
        The draft as a PDF with its banner on each page; sent where the profile asks for it and there is one.
    withdrawn
        Findings of an earlier version: those this one no longer has are sent once more with OBX-11 ``W``.

    Raises
    ------
    PatientUnmatched
        If the patient cannot be named by a mapped authority.
    NotEncodable
        If the receiver's character set lacks a character.
    ValueTooLong
        If a field of the site's own would be longer than HL7 allows.
    """
    header = header.printable()
    authority = profile.assigning_authority(header)
    parts = _Parts(draft, header, profile)
    segments = (
        _msh(draft, profile, control_id("oru", receiver, draft)),
        _pid(header, authority),
        *_order(parts),
        *_observations(parts, report_text, pdf, withdrawn),
        *z_segments(profile.fields, draft, header),
    )
    return encode(str(Message(segments)), profile.charset, transliterate=profile.transliterate)


def lane_of(receiver: str, header: StudyHeader) -> str:
    """Messages of one lane leave one after the other: those of one accession, else of one study, to one receiver."""
    header = header.printable()
    return _lane(receiver, header.accession_number, header.study_instance_uid)


def lane_of_message(receiver: str, message: bytes) -> str:
    """The lane of a message that `build_oru` made: as `lane_of`, by its OBR-18 or its Study Instance UID."""
    sent = parse_message(message)
    uids = (each.component(5) for each in sent.all("OBX") if each.component(3) == STUDY_UID.value)
    return _lane(receiver, sent.first("OBR").component(18), next(uids, ""))


def _lane(receiver: str, accession_number: str, study_instance_uid: str) -> str:
    key = ("accession", accession_number) if accession_number else ("study", study_instance_uid)
    return hashlib.sha256("\x1f".join((receiver, *key)).encode()).hexdigest()[:40]


def control_id(kind: str, receiver: str, draft: Draft, *more: str) -> str:
    """MSH-10 (20 characters, 2.15.9.10) of one Draft's message to one receiver; sent again it is the same."""
    return short_id(kind, receiver, draft.study_instance_uid, str(draft.version), draft.header_digest, *more)


def short_id(*parts: str) -> str:
    """100 bits of `parts`' identity as 20 letters and digits."""
    number = int(derived_uid("hl7v2", *parts).removeprefix("2.25."))
    return "".join(_SYMBOLS[(number >> (5 * n)) & 31] for n in range(CONTROL_ID_CHARACTERS))


@dataclass(frozen=True, slots=True)
class _Parts:
    draft: Draft
    header: StudyHeader
    profile: OruProfile
    findings: tuple[tuple[int, Finding], ...] = field(init=False)

    def __post_init__(self) -> None:
        numbered = enumerate(self.draft.readings, start=1)
        found = tuple((number, finding) for number, reading in numbered for finding in reading.findings)
        object.__setattr__(self, "findings", found)

    @property
    def observed(self) -> str:
        return timestamp_of(self.header.study_datetime) or utc_timestamp(self.draft.completed_at_utc)

    @property
    def coded(self) -> str:
        """Data type of a coded value: CE became CWE with 2.5 (2.A.13)."""
        return "CWE" if self.profile.version == "2.5.1" else "CE"


def utc_timestamp(moment: datetime) -> str:
    """TS with its offset (2.A.77)."""
    return moment.strftime("%Y%m%d%H%M%S%z")


def timestamp_of(fhir_datetime: str) -> str:
    """A FHIR date or dateTime as TS; empty stays empty."""
    if len(fhir_datetime) <= 10:
        return fhir_datetime.replace("-", "")
    return utc_timestamp(datetime.fromisoformat(fhir_datetime))


def _msh(draft: Draft, profile: OruProfile, message_id: str) -> Segment:
    # 2.3.1 receivers of the field read MSH-9 by its first two components alone.
    kind = ("ORU", "R01") if profile.version == "2.3.1" else ("ORU", "R01", "ORU_R01")
    return segment(
        "MSH",
        {
            1: FIELD,
            2: ENCODING_CHARACTERS,
            3: components(profile.sending_application),
            4: components(profile.sending_facility),
            5: components(profile.receiving_application),
            6: components(profile.receiving_facility),
            7: utc_timestamp(draft.completed_at_utc),
            9: components(*kind),
            10: message_id,
            11: profile.processing_id,
            12: profile.version,
            15: "AL" if profile.enhanced else "",
            16: "NE" if profile.enhanced else "",
            18: profile.charset,
        },
    )


def _pid(header: StudyHeader, authority: tuple[str, ...]) -> Segment:
    return segment(
        "PID",
        {
            1: "1",
            3: components(header.patient_id, "", "", authority, "MR"),
            5: person_name(header.patient_name),
            7: header.birth_date.replace("-", ""),
            8: header.sex,
        },
    )


def _order(parts: _Parts) -> tuple[Segment, ...]:
    header, draft = parts.header, parts.draft
    placer = components(header.placer_order_number)
    # Without an order the result has a number of ours, the same for every version.
    own = header.filler_order_number or header.accession_number
    filler = components(own) if own else components(short_id("filler", draft.study_instance_uid), "RADDRAFT")
    status = parts.profile.draft_result_status
    request = {
        1: "1",
        2: placer,
        3: filler,
        4: _procedure(parts),
        7: parts.observed,
        18: components(header.accession_number),
        22: utc_timestamp(draft.completed_at_utc),
        24: "RAD",
        25: status,
        **request_fields(draft, parts.profile),
        **local_fields(parts.profile.fields, draft, header),
    }
    order = (segment("ORC", {1: "RE", 2: placer, 3: filler}), segment("OBR", request))
    return (*order, *timing_segments(draft, parts.profile))


def _procedure(parts: _Parts) -> str:
    """OBR-4: the order's own code first, LOINC by view as its alternate, or what the site puts there."""
    draft, own = parts.draft, parts.header.procedure_code
    site = filled_parts(parts.profile.fields, "OBR", 4, draft, parts.header)
    alternate = tuple(site.get(part, "") for part in (4, 5, 6)) if site else ()
    images = [r.image for r in draft.readings] + [o.image for o in draft.other_images]
    code, display = loinc_of_views([image.view_position for image in images], parts.header.study_description)
    if own is None:
        return components(code, display, "LN", *alternate)
    if own.scheme == "LN":
        return components(own.value, own.meaning, "LN", *alternate)
    return components(own.value, own.meaning, own.scheme, *(alternate or (code, display, "LN")))


def _observations(parts: _Parts, report_text: str, pdf: bytes, withdrawn: Sequence[Finding]) -> list[Segment]:
    profile, header = parts.profile, parts.header
    rows = [_Row("TX", REPORT, "1", escape(conclusion_of(parts.draft)))]
    rows.append(_Row("ST", STUDY_UID, "1", escape(header.study_instance_uid)))
    if profile.formatted_text:
        rows.append(_Row("FT", REPORT, "1", escape(report_text.rstrip())))
    else:
        lines = [line for line in report_text.splitlines() if line.strip()]
        rows += [_Row("TX", REPORT, "1", escape(line)) for line in lines]
    for number, (image, finding) in enumerate(parts.findings, start=2):
        rows += _finding_rows(parts, finding, image, str(number))
    kept = {finding.uid for _, finding in parts.findings}
    gone = [finding for finding in withdrawn if finding.uid not in kept]
    for number, finding in enumerate(gone, start=2 + len(parts.findings)):
        rows += _finding_rows(parts, finding, None, str(number))
    if profile.attachment == "pdf" and pdf:
        data = base64.b64encode(pdf).decode("ascii")
        rows.append(_Row("ED", PDF, "1", f"RADDRAFT^application^pdf^Base64^{data}"))
    if profile.attachment == "link" and profile.link:
        rows.append(
            _Row("RP", LINK, "1", components(_link(profile.link, header), "RADDRAFT", "TEXT", "HTML"))
        )
    return [_obx(parts, row, number) for number, row in enumerate(rows, start=1)]


@dataclass(frozen=True, slots=True)
class _Row:
    """One OBX: its data type, what it is (OBX-3), its sub-ID and its encoded value."""

    kind: str
    term: CodedTerm
    sub_id: str
    value: str
    unit: str = ""
    withdrawn: bool = False
    alternate: CodedTerm | None = None
    critical: bool = False
    method: str = ""


def _finding_rows(parts: _Parts, finding: Finding, image: int | None, sub_id: str) -> list[_Row]:
    """The segments of one finding; one that was withdrawn (no image) says only what it was."""
    gone = image is None
    other = finding.label.equivalent_codes[0] if finding.label.equivalent_codes else None
    presence = finding.presence.code
    words = f"{finding.description}: {finding.presence.value} (AI, unverified)"
    # CWE.9 is the original text; CE ends with its sixth component.
    original = ("", "", "", "", "", words) if parts.coded == "CWE" else ()
    said = components(presence.value, presence.meaning, presence.scheme, *original)
    rows = [
        _Row(
            parts.coded,
            finding.label.code,
            sub_id,
            said,
            withdrawn=gone,
            alternate=other,
            critical=not gone and is_critical(parts.draft, finding),
        ),
        _Row("ST", TRACKING_UID, sub_id, escape(finding.uid), withdrawn=gone),
    ]
    if gone:
        return rows
    if finding.score is not None:
        rows += _score_rows(finding.score, sub_id)
    if finding.presence is Presence.PRESENT:
        rows += [
            # Readable in a text report, as IHE RAD-128 asks of references to images.
            _Row(
                "TX",
                REGION,
                sub_id,
                escape(
                    f"{finding.description}: img {image}, box x{b.box_px.x0:.0f}-{b.box_px.x1:.0f} "
                    f"y{b.box_px.y0:.0f}-{b.box_px.y1:.0f}"
                ),
            )
            for b in finding.boxes
        ]
    return rows


def _score_rows(score: Score, sub_id: str) -> list[_Row]:
    """The raw score and, under its own code, the calibrated one with what it was calibrated by (OBX-17)."""
    rows = [_Row("NM", CERTAINTY, sub_id, f"{score.raw * 100:.2f}", "%^percent^UCUM")]
    if score.calibrated is not None:
        value = f"{score.calibrated * 100:.2f}"
        method = score.calibration_id or "unnamed calibration"
        rows.append(_Row("NM", CALIBRATED_SCORE, sub_id, value, "%^percent^UCUM", method=method))
    return rows


def _obx(parts: _Parts, row: _Row, number: int) -> Segment:
    term, other = row.term, row.alternate
    alternate = (other.value, other.meaning, other.scheme) if other is not None else ()
    fields = {
        1: str(number),
        2: row.kind,
        3: components(term.value, term.meaning, term.scheme, *alternate),
        4: row.sub_id,
        5: row.value,
        6: row.unit,
        # HL7 Table 0078: critical abnormal.
        8: "AA" if row.critical else "",
        11: WITHDRAWN if row.withdrawn else parts.profile.draft_result_status,
        14: parts.observed,
        17: components("", row.method) if row.method else "",
    }
    if parts.profile.version != "2.3.1":
        # 2.3.1 ends with OBX-17.
        model = parts.draft.model
        fields[18] = components(f"{model.name} {model.version}", "RADDRAFT")
        fields[19] = utc_timestamp(parts.draft.completed_at_utc)
    return segment("OBX", fields)


def _link(template: str, header: StudyHeader) -> str:
    values = {"study_instance_uid": header.study_instance_uid, "accession_number": header.accession_number}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template
