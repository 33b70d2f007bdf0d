"""Readers of what an EHR gets: Medplum's engine, HL7's definitions, FHIRPath, an HL7 v2 server and an HL7 v2 parser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message as foreign_parse
from jsonschema import Draft6Validator
from pydicom import dcmread

from clinical import Permanent, RadDraftError
from hl7_fhir import ArtefactReference, FhirClient, FhirProfile, StudyHeader, build_bundle, report_identifier
from hl7_fhir.profile import R5
from hl7_fhir.rules import Rules
from hl7_fhir.v2 import Message, MllpClient, OruProfile, build_oru, check_answer, parse_message, withdrawal_of
from reporting import report_text
from tests.conformance.studies import Study
from tests.conformance.table import Verdict
from tests.interop.fhir_engine import definitions
from tests.interop.fhir_engine.engine import FhirEngine, Store, r5_issues, running_engine
from tests.interop.hl7_peer.peer import FOLDER as HL7_PEER
from tests.interop.hl7_peer.peer import Hl7Peer, hl7_peer
from tests.interop.node_packages import install

Find = Callable[[str], Path]
Json = dict[str, Any]

_ENGINE = Path(definitions.__file__).parent
_KINDS = ("Device", "DocumentReference", "ImagingStudy", "Observation", "DiagnosticReport", "Provenance")
_PROFILE = FhirProfile(default_patient_system="urn:oid:1.2.3", accession_system="urn:oid:1.2.4")
_US_CORE_NOTE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-diagnosticreport-note"
_R5_PROFILE = replace(_PROFILE, fhir_version=R5)
_FHIR, _FHIR_R5, _ORU = "FHIR R4", "FHIR R5", "HL7 v2 ORU^R01"
# What a face's transaction is written by, and what HL7 says of its version.
_RELEASES = ((_FHIR, _PROFILE, "4.0.1", definitions.R4), (_FHIR_R5, _R5_PROFILE, "5.0.0", definitions.R5))
_VERSIONS = ("2.3.1", "2.4", "2.5.1")
# hl7apy takes every OBX-5 for a string of at most this many characters; HL7 lets TX and ED be far longer.
_LONGEST = 199


def _header(study: Study) -> StudyHeader:
    """The source's header; whose numbers its patient has is a site's to say, and said here for all alike."""
    header = StudyHeader.from_dataset(dcmread(study.images[0], stop_before_pixels=True, force=True))
    return replace(
        header, issuer_of_patient_id="", issuer_universal_id="", patient_id=header.patient_id or "NONE"
    )


def bundle_of(study: Study, profile: FhirProfile = _PROFILE) -> Json:
    """The study's transaction, as it would be sent."""
    references = []
    for path in study.of("sr", "pr", "sc"):
        made = dcmread(path, stop_before_pixels=True)
        kind = {"SR": "sr", "PR": "pr"}.get(str(made.Modality), "sc")
        references.append(
            ArtefactReference(
                kind, str(made.SOPClassUID), str(made.SOPInstanceUID), str(made.SeriesInstanceUID)
            )
        )
    pages = study.of("pdf")
    pdf = bytes(dcmread(pages[0]).EncapsulatedDocument) if pages else b""
    return build_bundle(
        study.draft, _header(study), profile, references, report_text=report_text(study.draft), pdf=pdf
    )


def _npm_version(folder: Path, package: str) -> str:
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    return str(locked["packages"][f"node_modules/{package}"]["version"])


def medplum(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """The transaction in another maker's engine and validator; then what must be refused."""
    install(find("npm"), _ENGINE)
    reader = f"Medplum FHIR router and validator {_npm_version(_ENGINE, '@medplum/fhir-router')}"
    promises: tuple[tuple[str, Callable[[Store, Study], str]], ...] = (
        ("validator: structure, invariants", _taken),
        ("posted twice, nothing doubles", _twice),
        ("a stale If-Match is answered 412", _stale),
        ("several matches are answered 412 and stop the report", _several),
        ("US Core Report and Note", _us_core),
    )
    one_of_each = list({study.kind: study for study in studies}.values())
    with running_engine(find("node")) as engine:
        for checks, promise in promises:
            # What a server answers does not depend on what is in the report.
            for study in one_of_each if promise in (_stale, _several) else studies:
                problem = _kept(engine, promise, study)
                yield Verdict(_FHIR, reader, checks, study.kind, not problem, problem=problem)


def _kept(engine: FhirEngine, promise: Callable[[Store, Study], str], study: Study) -> str:
    store = engine.store()
    try:
        return promise(store, study)
    except RadDraftError as error:
        return error.code
    finally:
        store.close()


def _taken(store: Store, study: Study) -> str:
    FhirClient(store.base_url).post(bundle_of(study))
    return "the validator warns" if store.warnings() else ""


def _twice(store: Store, study: Study) -> str:
    client = FhirClient(store.base_url)
    client.post(bundle_of(study))
    once = store.counts(*_KINDS)
    again = client.post(bundle_of(study))
    if any(not status.startswith("200") for status in again.entries):
        return "an entry of the second post was not answered 200"
    return "" if store.counts(*_KINDS) == once else "the second post made resources"


def _stale(store: Store, study: Study) -> str:
    FhirClient(store.base_url).post(bundle_of(study))
    (report,) = store.search("DiagnosticReport")
    tag = f'W/"{report["meta"]["versionId"]}"'
    said = [store.put(report, **{"If-Match": tag}).status_code for _ in range(2)]
    return "" if said == [200, 412] else f"answered {said}"


def _several(store: Store, study: Study) -> str:
    value = report_identifier(study.draft.study_instance_uid)
    twin = {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "code": {"text": "a copy"},
        "identifier": [{"system": "urn:dicom:uid", "value": value}],
    }
    for _ in range(2):
        store.post(twin, "/DiagnosticReport")
    status = store.put_where(twin, f"urn:dicom:uid|{value}").status_code
    if status != 412:
        return f"answered {status}"
    with suppress(Permanent):
        FhirClient(store.base_url).post(bundle_of(study))
        return "a report was written all the same"
    return "" if store.counts("Observation") == {"Observation": 0} else "findings were written all the same"


def _us_core(store: Store, study: Study) -> str:
    FhirClient(store.base_url).post(bundle_of(study, replace(_PROFILE, report_profiles=(_US_CORE_NOTE,))))
    return "the validator warns" if store.warnings() else ""


def medplum_r5(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """The R5 transaction in another maker's validator, with HL7's definitions of R5: all it knows, and no warning."""
    install(find("npm"), _ENGINE)
    reader = f"Medplum validator {_npm_version(_ENGINE, '@medplum/core')} with hl7.fhir.r5.core 5.0.0"
    bundles = [bundle_of(study, _R5_PROFILE) for study in studies]
    for study, issues in zip(studies, r5_issues(find("node"), bundles), strict=True):
        problem = ", ".join(sorted(set(issues)))
        checks = "validator: structure, invariants"
        yield Verdict(_FHIR_R5, reader, checks, study.kind, not problem, problem=problem)


def fhir_schema(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """HL7's own JSON schema, whole, as it is published: structure, and in R4 required bindings of codes."""
    install(find("npm"), _ENGINE)
    for face, profile, number, release in _RELEASES:
        validators = _schema_validators(release)
        reader = f"HL7 FHIR {number} fhir.schema.json, by jsonschema {version('jsonschema')}"
        checks = "structure, required bindings" if face is _FHIR else "structure"
        for study in studies:
            bundle = bundle_of(study, profile)
            resources = [bundle, *(entry["resource"] for entry in bundle["entry"])]
            rules = sorted(
                {str(e.validator) for r in resources for e in validators[r["resourceType"]].iter_errors(r)}
            )
            problem = f"breaks {', '.join(rules)}" if rules else ""
            yield Verdict(face, reader, checks, study.kind, not rules, problem=problem)


def _schema_validators(release: definitions.Release) -> dict[str, Draft6Validator]:
    schema = json.loads(release.schema.read_text(encoding="utf-8"))["definitions"]
    # Each resource is looked at by its own type: trying every type there is for it takes seconds.
    schema["ResourceList"] = {"type": "object"}
    return {
        kind: Draft6Validator({"$ref": f"#/definitions/{kind}", "definitions": schema})
        for kind in release.sent
    }


def fhirpath(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """HL7's own invariants and bindings, read from its profiles at this moment, on every resource."""
    install(find("npm"), _ENGINE)
    for face, profile, number, release in _RELEASES:
        found = definitions.extract(release)
        rules = Rules(release.target.name[:2], found["schema"], found["rules"], found["targets"])
        reader = f"HL7 FHIR {number} profiles, by fhirpathpy {version('fhirpathpy')}"
        checks = "required bindings, invariants, reference targets"
        for study in studies:
            bundle = bundle_of(study, profile)
            entries = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
            resources = [bundle, *(entry["resource"] for entry in bundle["entry"])]
            broken = {v.rule for resource in resources for v in rules.violations(resource, entries.get)}
            problem = f"breaks {', '.join(sorted(broken))}" if broken else ""
            yield Verdict(face, reader, checks, study.kind, not broken, problem=problem)


def _messages(study: Study) -> Iterator[tuple[str, bytes]]:
    """The study's ORU in each version, and what takes the last one back."""
    header = _header(study)
    pages = study.of("pdf")
    pdf = bytes(dcmread(pages[0]).EncapsulatedDocument) if pages else b""
    message = b""
    for number in _VERSIONS:
        profile = OruProfile(
            version=number, default_authority="HOSP&1.2.3&ISO", attachment="pdf", transliterate=True
        )
        message = build_oru(
            study.draft, header, profile, receiver="ehr", report_text=report_text(study.draft), pdf=pdf
        )
        yield number, message
    yield f"{number}, taken back", withdrawal_of(message, study.draft.completed_at_utc, "wrong patient")


def hl7_server(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Over MLLP into another maker's server, whose parser must find patient, status and accession."""
    install(find("npm"), HL7_PEER)
    reader = f"node-hl7-server {_npm_version(HL7_PEER, 'node-hl7-server')}"
    with hl7_peer(find("node")) as peer:
        for study in studies:
            for number, message in _messages(study):
                problem = _sent(peer, message, len(peer.received) + 1)
                yield Verdict(
                    f"{_ORU} {number}", reader, "MLLP, fields", study.kind, not problem, problem=problem
                )


def _sent(peer: Hl7Peer, message: bytes, count: int) -> str:
    ours = parse_message(message)
    client = MllpClient("127.0.0.1", peer.port, timeout_s=60)
    try:
        check_answer(client.exchange(message), ours.control_id)
    except RadDraftError as error:
        return error.code
    finally:
        client.close()
    seen = peer.wait_for(count)[-1]
    wanted = {
        "controlId": ours.control_id,
        "patient": ours.first("PID").component(3),
        "orderStatus": ours.first("OBR").component(25),
        "accession": ours.first("OBR").component(18),
    }
    wrong = [name for name, value in wanted.items() if seen[name] != value]
    return f"reads another {', '.join(wrong)}" if wrong else ""


def hl7_parser(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Strict validation by the structures and data types of each version."""
    reader = f"hl7apy {version('hl7apy')}"
    for study in studies:
        for number, message in _messages(study):
            problem = _strict(shortened(message))
            yield Verdict(
                f"{_ORU} {number}",
                reader,
                "structure, data types (strict)",
                study.kind,
                not problem,
                ("an OBX-5 ends at 199 characters there: of longer ones it was given the beginning",),
                problem,
            )


def shortened(message: bytes) -> bytes:
    """The message with the beginning of each long OBX-5, cut between words or bytes.

    hl7apy's strict parser takes every OBX-5 for an ST, which has 199 characters; a TX may have 65,536 (2.5.1, 2.A.81).
    """
    rows = []
    for row in parse_message(message).segments:
        value = row.raw(5)
        if row.name == "OBX" and len(value) > _LONGEST:
            start, mark, data = value.rpartition("^")
            room = _LONGEST - len(start) - 1
            cut = start + mark + data[: room // 4 * 4] if mark else value[:_LONGEST].rpartition(" ")[0]
            row = row.with_raw({5: cut})
        rows.append(row)
    return str(Message(tuple(rows))).encode("utf-8")


def _strict(message: bytes) -> str:
    try:
        parsed = foreign_parse(
            message.decode("utf-8"), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True
        )
        return "" if parsed.validate() else "not valid"
    except HL7apyException as error:
        # Its words may quote a value.
        return type(error).__name__
