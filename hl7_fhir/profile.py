"""How one EHR names patients, orders and drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clinical import Permanent
from hl7_fhir.header import StudyHeader

R4, R5 = "4.0", "5.0"


class PatientUnmatched(Permanent):
    """The patient cannot be named to this EHR; nothing is sent until a person maps the identifier."""

    def __init__(self, message: str) -> None:
        super().__init__("patient-unmatched", message)


@dataclass(frozen=True, slots=True)
class FhirProfile:
    """Naming at one destination.

    Attributes
    ----------
    draft_status
        ``"preliminary"`` or ``"partial"``; a draft is never ``final``.
    issuers
        IssuerOfPatientID (or its universal ID) to identifier system (a URI).
    default_patient_system
        A site's explicit choice for images without an issuer.
    accession_system
        Identifier system of accession numbers; without one the order is not referenced.
    report_profiles
        Canonical URLs of the profiles a DiagnosticReport claims, such as US Core's Report and Note.
    fhir_version
        ``"4.0"``, or ``"5.0"`` for a server that takes R5: boxes become ImagingSelections there.
    """

    draft_status: str = "preliminary"
    issuers: Mapping[str, str] = field(default_factory=dict)
    default_patient_system: str | None = None
    accession_system: str | None = None
    report_profiles: tuple[str, ...] = ()
    fhir_version: str = R4

    def __post_init__(self) -> None:
        if self.draft_status not in ("preliminary", "partial"):
            raise ValueError("a draft is sent as preliminary or partial, never as anything else")

    def patient_system(self, header: StudyHeader) -> str:
        """Identifier system of the study's patient.

        Raises
        ------
        PatientUnmatched
            If there is no patient ID, or its issuer is not mapped: the subject is never invented.
        """
        return named_by(header, self.issuers, self.default_patient_system, "default_patient_system")


def named_by(header: StudyHeader, issuers: Mapping[str, str], default: str | None, key: str) -> str:
    """What a site calls the issuer of the study's Patient ID.

    Parameters
    ----------
    key
        Name of the setting that holds `default`.

    Raises
    ------
    PatientUnmatched
        If there is no usable Patient ID, or nothing is said of its issuer.
    """
    if not header.patient_id:
        raise PatientUnmatched("the image carries no Patient ID (0010,0020)")
    if not header.patient_id.isprintable():
        raise PatientUnmatched("the Patient ID (0010,0020) has characters an identifier cannot have")
    for issuer in (header.issuer_of_patient_id, header.issuer_universal_id):
        if issuer and issuer in issuers:
            return issuers[issuer]
    if header.issuer_of_patient_id or header.issuer_universal_id:
        raise PatientUnmatched("the image's Issuer of Patient ID is not in the destination's issuers")
    if default is None:
        raise PatientUnmatched(f"the image names no issuer and the destination has no {key}")
    return default
