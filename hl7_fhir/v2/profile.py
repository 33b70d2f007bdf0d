"""How one HL7 version 2 receiver names patients, orders and drafts, and what it can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hl7_fhir.header import StudyHeader
from hl7_fhir.profile import named_by
from hl7_fhir.v2.custom_fields import CustomField

VERSIONS = ("2.3.1", "2.4", "2.5.1")


@dataclass(frozen=True, slots=True)
class OruProfile:
    """Naming at one destination.

    Attributes
    ----------
    version
        MSH-12: ``2.3.1``, ``2.4`` or ``2.5.1``.
    sending_application, sending_facility, receiving_application, receiving_facility
        MSH-3 to MSH-6.
    processing_id
        MSH-11: ``P`` production, ``T`` training, ``D`` debugging (Table 0103).
    charset
        MSH-18, a name of Table 0211; empty means ASCII.
    transliterate
        Write characters the set lacks in their nearest letters; without it such a message is held.
    draft_result_status
        ``P`` (preliminary) or ``R`` (entered, not verified; Tables 0085 and 0123); a draft is never final.
    formatted_text
        One FT with line breaks instead of one TX for each line.
    attachment
        ``"none"``, ``"pdf"`` (ED, base64) or ``"link"`` (RP).
    link
        Address of the viewer; ``{study_instance_uid}`` and ``{accession_number}`` are filled in.
    enhanced
        Ask for a commit acknowledgement alone (MSH-15 ``AL``, MSH-16 ``NE``).
    issuers, default_authority
        IssuerOfPatientID (or its universal ID) to the assigning authority of PID-3.4: a namespace, or
        ``namespace&universal id&type``; and a site's explicit choice for images without an issuer.
    fields
        What the site fills by its own templates (`custom_fields.custom_fields`).
    raises_priority
        Whether a result with a critical finding has the highest priority.
    """

    version: str = "2.5.1"
    sending_application: str = "RADDRAFT"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    charset: str = "UNICODE UTF-8"
    transliterate: bool = False
    draft_result_status: str = "P"
    formatted_text: bool = False
    attachment: str = "none"
    link: str = ""
    enhanced: bool = False
    issuers: Mapping[str, str] = field(default_factory=dict)
    default_authority: str | None = None
    fields: tuple[CustomField, ...] = ()
    raises_priority: bool = False

    def __post_init__(self) -> None:
        if self.draft_result_status not in ("P", "R"):
            raise ValueError("a draft is sent as P or R, never as anything else")
        if self.version not in VERSIONS:
            raise ValueError("the version is one of 2.3.1, 2.4 and 2.5.1")

    def assigning_authority(self, header: StudyHeader) -> tuple[str, ...]:
        """Subcomponents of PID-3.4 for the study's patient.

        Raises
        ------
        PatientUnmatched
            If there is no patient ID, or its issuer is not mapped: PID-3 without its authority names somebody else.
        """
        return tuple(named_by(header, self.issuers, self.default_authority, "default_authority").split("&"))
