"""A Draft as a FHIR R4 transaction whose repetition changes nothing."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fhir.resources.R4B.bundle import Bundle

from clinical import Draft, Finding, Presence, Reading, derived_uid, is_critical
from hl7_fhir.codes import Json, coding, concept, loinc_of_views, system_of
from hl7_fhir.components import body_site, components_of
from hl7_fhir.conclusion import conclusion_of
from hl7_fhir.header import StudyHeader, one_line
from hl7_fhir.modelled import modelled
from hl7_fhir.profile import R5, FhirProfile
from hl7_fhir.r5 import as_r5
from hl7_fhir.transparency import AI_DEVICE_TYPES, ai_confidence, model_card_of

UID_SYSTEM = "urn:dicom:uid"
TAG_SYSTEM = "urn:raddraft:tag"
DELIVERY_SYSTEM = "urn:raddraft:delivery"
DEVICE_SYSTEM = "urn:raddraft:device"
_AIAST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
_TAG = {
    "system": TAG_SYSTEM,
    "code": "ai-draft-unsigned",
    "display": "AI draft - not reviewed by a radiologist",
}
_AI_DEVICE_TYPE = {"system": AI_DEVICE_TYPES, "code": "Artificial-Intelligence"}
_INTERPRETATIONS = {
    Presence.PRESENT: ("POS", "Positive"),
    Presence.ABSENT: ("NEG", "Negative"),
    Presence.INDETERMINATE: ("IND", "Indeterminate"),
}


@dataclass(frozen=True, slots=True)
class ArtefactReference:
    """A DICOM result that shows the same Draft; FHIR points at its UID, the authoritative boxes are there."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


def report_identifier(study_instance_uid: str) -> str:
    """Identifier value of a study's one report, the same for all versions."""
    return f"urn:oid:{derived_uid('fhir-report', study_instance_uid)}"


def build_bundle(
    draft: Draft,
    header: StudyHeader,
    profile: FhirProfile,
    artefacts: Sequence[ArtefactReference],
    *,
    report_text: str,
    pdf: bytes = b"",
    withdrawn: Sequence[Finding] = (),
) -> Json:
    """The transaction: Device, ImagingStudy, one Observation per finding, DiagnosticReport, Provenance.

    Parameters
    ----------
    pdf
        The draft as a PDF with its banner on each page; shown beside the plain text where there is one.
    withdrawn
        Findings of an earlier version that this one no longer has: they become ``entered-in-error``.

    Raises
    ------
    PatientUnmatched
        If the patient cannot be named by a mapped identifier.
    """
    builder = _BundleBuilder(
        draft, header.printable(), profile, tuple(artefacts), report_text, pdf, tuple(withdrawn)
    )
    return builder.build()


@dataclass(frozen=True, slots=True)
class _BundleBuilder:
    draft: Draft
    header: StudyHeader
    profile: FhirProfile
    artefacts: tuple[ArtefactReference, ...]
    report_text: str
    pdf: bytes
    withdrawn: tuple[Finding, ...]

    def build(self) -> Json:
        subject = self._subject()
        common = {"subject": subject, **self._based_on()}
        entries = [self._device(), self._imaging_study(common)]
        current = [(reading, f) for reading in self.draft.readings for f in reading.findings]
        entries += [self._observation(f, reading, common, "preliminary") for reading, f in current]
        kept = {finding.uid for _, finding in current}
        gone = [finding for finding in self.withdrawn if finding.uid not in kept]
        entries += [self._observation(finding, None, common, "entered-in-error") for finding in gone]
        entries.append(self._report([f for _, f in current], common))
        entries.append(self._provenance([entry["fullUrl"] for entry in entries[2:]]))
        bundle = modelled({"resourceType": "Bundle", "type": "transaction", "entry": entries}, Bundle, "R4")
        if self.profile.fhir_version == R5:
            return as_r5(bundle, [(f, reading) for reading, f in current] + [(f, None) for f in gone])
        return bundle

    def _url(self, *parts: str) -> str:
        return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, derived_uid('fhir', self.draft.study_instance_uid, *parts))}"

    def _subject(self) -> Json:
        system = self.profile.patient_system(self.header)
        return {"type": "Patient", "identifier": {"system": system, "value": self.header.patient_id}}

    def _based_on(self) -> Json:
        if not (self.profile.accession_system and self.header.accession_number):
            return {}
        return {"basedOn": [{"type": "ServiceRequest", "identifier": self._accession()}]}

    def _accession(self) -> Json:
        kind = concept("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN", "Accession ID")
        return {"type": kind, "system": self.profile.accession_system, "value": self.header.accession_number}

    @property
    def _meta(self) -> Json:
        return {"security": [_AIAST], "tag": [_TAG]}

    @property
    def _report_meta(self) -> Json:
        claimed = list(self.profile.report_profiles)
        return {**({"profile": claimed} if claimed else {}), **self._meta}

    @property
    def _times(self) -> Json:
        issued = self.draft.completed_at_utc.isoformat(timespec="milliseconds")
        return {"effectiveDateTime": self.header.study_datetime or issued, "issued": issued}

    @property
    def _device_url(self) -> str:
        return self._url("device", self.draft.model.device_uid)

    @property
    def _study_url(self) -> str:
        return self._url("imaging-study")

    def _performer(self) -> list[Json]:
        # R4 lets no Device perform a report: the extension of the AI Transparency guide names it.
        return [
            {
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/alternate-reference",
                        "valueReference": {"reference": self._device_url, "type": "Device"},
                    }
                ],
                "display": f"{self.draft.model.name} {self.draft.model.version} (software, not a clinician)",
            }
        ]

    def _device(self) -> Json:
        model = self.draft.model
        value = f"urn:oid:{model.device_uid}"
        resource: Json = {
            "resourceType": "Device",
            "meta": self._meta,
            "identifier": [{"system": DEVICE_SYSTEM, "value": value}],
            **model_card_of(model, self.draft.product_version),
            "status": "active",
            "manufacturer": "RadDraft",
            "deviceName": [{"name": model.name, "type": "model-name"}],
            "type": {"coding": [_AI_DEVICE_TYPE], "text": "AI chest X-ray draft reporting software"},
            "version": [
                {"type": {"text": "software"}, "value": self.draft.product_version},
                {"type": {"text": "model"}, "value": model.version},
                {"type": {"text": "model weights sha256"}, "value": model.weights_sha256},
                {"type": {"text": "prompts sha256"}, "value": model.prompts_sha256},
                {"type": {"text": "engine"}, "value": model.engine},
            ],
        }
        if model.statement:
            resource["note"] = [{"text": model.statement}]
        return _created(self._device_url, resource, f"identifier={_token(DEVICE_SYSTEM, value)}")

    def _imaging_study(self, common: Json) -> Json:
        value = f"urn:oid:{self.header.study_instance_uid}"
        identifiers: list[Json] = [{"system": UID_SYSTEM, "value": value}]
        if "basedOn" in common:
            identifiers.append(self._accession())
        resource: Json = {
            "resourceType": "ImagingStudy",
            "identifier": identifiers,
            "status": "available",
            **common,
        }
        if self.header.modality:
            resource["modality"] = [{"system": system_of("DCM"), "code": self.header.modality}]
        if self.header.study_datetime:
            resource["started"] = self.header.study_datetime
        if self.header.study_description:
            resource["description"] = self.header.study_description
        return _created(self._study_url, resource, f"identifier={_token(UID_SYSTEM, value)}")

    def _interpretation(self, finding: Finding) -> list[Json]:
        """Present, absent or neither; "critical abnormal" beside it where the critical-finding channel raised it.

        ``AA`` of v3-ObservationInterpretation (HL7 Table 0078) is for whoever orders a worklist by it; a finding that
        is not present never carries it.
        """
        system = f"{_HL7}/v3-ObservationInterpretation"
        found = [concept(system, *_INTERPRETATIONS[finding.presence])]
        if is_critical(self.draft, finding):
            found.append(concept(system, "AA", "Critical abnormal"))
        return found

    def _observation(self, finding: Finding, reading: Reading | None, common: Json, status: str) -> Json:
        value = f"urn:oid:{finding.uid}"
        resource: Json = {
            "resourceType": "Observation",
            "meta": self._meta,
            "identifier": [{"system": UID_SYSTEM, "value": value}],
            "status": status,
            "category": [concept(f"{_HL7}/observation-category", "imaging", "Imaging")],
            "code": {
                "coding": [coding(finding.label.code), *(coding(c) for c in finding.label.equivalent_codes)],
                "text": finding.description,
            },
            **common,
            **self._times,
            "performer": self._performer(),
            "valueCodeableConcept": {
                "coding": [coding(finding.presence.code)],
                "text": f"{finding.presence.value.capitalize()} (AI, unverified)",
            },
            "interpretation": self._interpretation(finding),
            "device": {"reference": self._device_url},
            "derivedFrom": [{"reference": self._study_url}],
            "partOf": [{"reference": self._study_url}],
        }
        resource.update(body_site(finding))
        if finding.score is not None and finding.score.calibrated is not None:
            resource["extension"] = [ai_confidence(finding.score.calibrated)]
        notes = self._finding_notes(finding)
        if notes:
            resource["note"] = [{"text": note} for note in notes]
        components = components_of(finding, reading)
        if components:
            resource["component"] = components
        return _updated(self._url("finding", finding.uid), resource, value)

    def _finding_notes(self, finding: Finding) -> list[str]:
        notes = [
            one_line(f"{c.name} {c.status.value}: {c.evidence}")
            for c in finding.checks
            if c.status.value != "pass"
        ]
        return ([self.draft.model.statement] if self.draft.model.statement else []) + notes

    def _report(self, findings: Sequence[Finding], common: Json) -> Json:
        value = report_identifier(self.draft.study_instance_uid)
        resource: Json = {
            "resourceType": "DiagnosticReport",
            "meta": self._report_meta,
            "identifier": [{"system": UID_SYSTEM, "value": value}],
            "status": self.profile.draft_status,
            "category": [
                concept("http://loinc.org", "LP29684-5", "Radiology"),
                concept(f"{_HL7}/v2-0074", "RAD", "Radiology"),
                # What Europe's guide for imaging reports looks for.
                concept("http://loinc.org", "85430-7", "Diagnostic imaging report"),
            ],
            "code": self._procedure(),
            **common,
            **self._times,
            "performer": self._performer(),
            "imagingStudy": [{"reference": self._study_url}],
            "conclusion": conclusion_of(self.draft),
        }
        forms = [
            ("text/plain; charset=utf-8", self.report_text.encode("utf-8")),
            ("application/pdf", self.pdf),
        ]
        presented = [self._presented(kind, data) for kind, data in forms if data]
        if presented:
            resource["presentedForm"] = presented
        if findings:
            resource["result"] = [{"reference": self._url("finding", f.uid)} for f in findings]
        codes = [{"coding": [coding(f.label.code)]} for f in findings if f.presence is Presence.PRESENT]
        if codes:
            resource["conclusionCode"] = codes
        if self.artefacts:
            resource["extension"] = [
                {"url": f"urn:raddraft:dicom-result:{a.kind}", "valueUri": f"urn:oid:{a.sop_instance_uid}"}
                for a in self.artefacts
            ]
        return _updated(self._url("report"), resource, value)

    def _procedure(self) -> Json:
        """The order's own code where the header has one, beside LOINC by view."""
        images = [r.image for r in self.draft.readings] + [o.image for o in self.draft.other_images]
        code, display = loinc_of_views(
            [image.view_position for image in images], self.header.study_description
        )
        loinc = {"system": "http://loinc.org", "code": code, "display": display}
        local = self.header.procedure_code
        if local is None:
            return {"coding": [loinc], "text": f"{display} - AI draft"}
        own = {"system": system_of(local.scheme), "code": local.value}
        if local.meaning:
            own["display"] = local.meaning
        codings = [own] if local.scheme == "LN" else [loinc, own]
        return {"coding": codings, "text": f"{local.meaning or display} - AI draft"}

    def _presented(self, content_type: str, data: bytes) -> Json:
        return {
            "contentType": content_type,
            "language": "en",
            "data": base64.b64encode(data).decode("ascii"),
            "size": len(data),
            # FHIR R4 Attachment.hash is SHA-1 by definition; it guards against damage, not against attack.
            "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii"),
            "title": "DRAFT, unsigned: AI chest X-ray report",
            "creation": self.draft.completed_at_utc.isoformat(timespec="seconds"),
        }

    def _provenance(self, targets: Sequence[str]) -> Json:
        # Provenance has no identifier in R4: a tag of its own keeps a repetition from making a second one.
        delivery = derived_uid(
            "fhir-delivery", self.draft.study_instance_uid, str(self.draft.version), self.draft.header_digest
        )
        tag = {"system": DELIVERY_SYSTEM, "code": delivery}
        resource: Json = {
            "resourceType": "Provenance",
            "meta": {"security": [_AIAST], "tag": [_TAG, tag]},
            "target": [{"reference": target} for target in targets],
            "occurredDateTime": self.draft.started_at_utc.isoformat(timespec="seconds"),
            "recorded": self.draft.completed_at_utc.isoformat(timespec="milliseconds"),
            "reason": [{"coding": [_AIAST]}],
            "activity": concept(f"{_HL7}/v3-DataOperation", "CREATE", "create"),
            "agent": [
                {
                    "type": concept(f"{_HL7}/provenance-participant-type", "author", "Author"),
                    "role": [{"coding": [_AI_DEVICE_TYPE]}],
                    "who": {"reference": self._device_url},
                }
            ],
            "entity": [{"role": "source", "what": {"reference": self._study_url}}],
        }
        return _created(
            self._url("provenance", delivery), resource, f"_tag={_token(DELIVERY_SYSTEM, delivery)}"
        )


_HL7 = "http://terminology.hl7.org/CodeSystem"


def _token(system: str, value: str) -> str:
    return quote(f"{system}|{value}", safe=":.-")


def _created(url: str, resource: Json, if_none_exist: str) -> Json:
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": if_none_exist}
    return {"fullUrl": url, "resource": resource, "request": request}


def _updated(url: str, resource: Json, identifier: str) -> Json:
    kind = resource["resourceType"]
    request = {"method": "PUT", "url": f"{kind}?identifier={_token(UID_SYSTEM, identifier)}"}
    return {"fullUrl": url, "resource": resource, "request": request}
