"""Reading back over HTTP what an archive holds: QIDO-RS as a user agent (PS3.18 section 10.6)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from clinical import Permanent, Transient
from dicom_node.commitment_user import HeldObject

_DICOM_JSON = "application/dicom+json"
_SOP_INSTANCE_UID = "00080018"
# RFC 9110 section 15.5: there is no such resource, or no such search.
_NO_SUCH = frozenset({400, 404, 405, 406, 410, 501})


def read_back_by_qido(
    base_url: str,
    references: Sequence[HeldObject],
    *,
    authorization: str = "",
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 60.0,
) -> frozenset[str]:
    """SOP Instance UIDs of those objects an archive says it holds: a search for each in its series.

    Parameters
    ----------
    authorization
        Value of the Authorization header; empty for none.
    tls
        As for `dicom_node.StowClient`.

    Raises
    ------
    Permanent
        ``no-query``: the archive offers no search for instances.
    Transient
        ``archive-unreachable``, ``http-<status>`` or ``qido-failed``: it may answer later.
    """
    headers = {"Accept": _DICOM_JSON} | ({"Authorization": authorization} if authorization else {})
    try:
        with httpx.Client(
            base_url=f"{base_url.rstrip('/')}/", headers=headers, timeout=timeout_s, verify=tls or True
        ) as http:
            return frozenset(
                reference.sop_instance_uid
                for reference, study_uid, series_uid in references
                if _holds(http, reference.sop_instance_uid, study_uid, series_uid)
            )
    except httpx.HTTPError as error:
        # The library's text quotes the address, and with it the UIDs.
        raise Transient(
            "archive-unreachable", f"no answer from the archive ({type(error).__name__}); check base_url"
        ) from None


def _holds(http: httpx.Client, sop_instance_uid: str, study_uid: str, series_uid: str) -> bool:
    answer = http.get(
        f"studies/{study_uid}/series/{series_uid}/instances", params={"SOPInstanceUID": sop_instance_uid}
    )
    if answer.status_code in _NO_SUCH:
        _require_search(http, study_uid)
        return False
    # An archive that does not filter by the key answers with the whole series.
    return sop_instance_uid in [_uid(each) for each in _matches(answer)]


def _require_search(http: httpx.Client, study_uid: str) -> None:
    """Tell an archive that has no such study, and says so with an error, from one that offers no search at all."""
    answer = http.get("studies", params={"StudyInstanceUID": study_uid})
    if answer.status_code in _NO_SUCH:
        raise Permanent("no-query", "the archive offers no QIDO-RS search")
    _matches(answer)


def _matches(answer: httpx.Response) -> Sequence[Any]:
    # PS3.18 section 10.6.3: 204 where nothing matches.
    if answer.status_code == httpx.codes.NO_CONTENT:
        return []
    if answer.status_code not in (200, 206):
        raise Transient(
            f"http-{answer.status_code}", f"the archive answered {answer.status_code} to a search"
        )
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise Transient("qido-failed", "the archive's answer to a search is no list of objects in JSON")
    return found


def _uid(match: object) -> str:
    if not isinstance(match, Mapping):
        return ""
    attribute = match.get(_SOP_INSTANCE_UID)
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    return str(values[0]) if isinstance(values, list) and values else ""
