"""Deterministic identifiers: the same content always gets the same UID, other content another.

UUID-derived UIDs have the form ``2.25.<integer>`` (PS3.5 B.2, ISO/IEC 9834-8), 44 characters at most.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence

_NAMESPACE = uuid.UUID("6f2a3c0e-7d55-5b8e-9a43-1d1f3c5b7e90")


def derived_uid(*parts: str) -> str:
    """UID derived from `parts` in their order."""
    # The unit separator cannot occur in UIDs, digests and names, so ("a", "bc") and ("ab", "c") differ.
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}"


def patient_digest(patient_id: str, issuer: str) -> str:
    """SHA-256 of Patient ID (0010,0020) and its issuer (0010,0021): whose a result was, when its bytes are gone."""
    return hashlib.sha256("\0".join((patient_id.strip(), issuer.strip())).encode()).hexdigest()


def finding_uid(
    *, study_instance_uid: str, sop_instance_uid: str, code: str, scheme: str, laterality: str, ordinal: int
) -> str:
    """Tracking UID of one finding on one image.

    Parameters
    ----------
    ordinal
        Position of the finding's box among those of the same label and side, ordered by (y0, x0), from 0.
    """
    return derived_uid(
        "finding", study_instance_uid, sop_instance_uid, scheme, code, laterality, str(ordinal)
    )


def object_uid(
    *,
    kind: str,
    source_uids: Iterable[str],
    header_digest: str,
    model_device_uid: str,
    configuration_sha256: str,
    draft_version: int,
    extra: Sequence[str] = (),
) -> str:
    """UID of an artefact made for one Draft version.

    Parameters
    ----------
    kind
        What it is: ``"sr"``, ``"sr-series"``, ``"pr"``, ``"sc"``, ``"fhir-report"`` ...
    source_uids
        SOP Instance UIDs of the images it was made from, in any order.
    header_digest
        Digest of the source headers copied into it.
    extra
        Further distinguishing parts, e.g. the image an overlay belongs to.
    """
    sources = ",".join(sorted(source_uids))
    parts = (kind, sources, header_digest, model_device_uid, configuration_sha256, str(draft_version), *extra)
    return derived_uid(*parts)
