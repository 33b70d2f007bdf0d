"""QIDO-RS (PS3.18 section 10.6): found objects as DICOM JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydicom.datadict import tag_for_keyword

from service.book.catalogue import Found, Level, Source
from service.http.dicomweb.catalogue import INSTANCE_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS
from service.http.dicomweb.dicom_json import Json


def _tags(keywords: frozenset[str]) -> frozenset[str]:
    return frozenset(f"{tag_for_keyword(keyword):08X}" for keyword in keywords)


_STUDY, _SERIES, _INSTANCE = _tags(STUDY_KEYWORDS), _tags(SERIES_KEYWORDS), _tags(INSTANCE_KEYWORDS)
_LEVEL_TAGS = {
    Level.STUDY: _STUDY,
    Level.SERIES: _STUDY | _SERIES,
    Level.INSTANCE: _STUDY | _SERIES | _INSTANCE,
}


def result_json(level: Level, group: Sequence[Found], base_url: str) -> Json:
    """One result of a search: a study, a series or an object with what Tables 10.6.3-3 to 10.6.3-5 require.

    Parameters
    ----------
    group
        Every shown object of the study or series, or the one object.
    base_url
        Address of the service, without a slash at its end.
    """
    # The study's attributes come from its images; our results only copy them.
    speaker = max(group, key=lambda found: found.source is Source.RECEIVED)
    attributes: Json = json.loads(speaker.attributes_json)
    told = {tag: value for tag, value in attributes.items() if tag in _LEVEL_TAGS[level]}
    told["0020000D"] = _element("UI", speaker.study_instance_uid)
    told["00081190"] = _element("UR", retrieve_url(level, speaker, base_url))
    told["00080056"] = _element("CS", "ONLINE")
    if level is Level.STUDY:
        told["00080061"] = _element("CS", *sorted({found.modality for found in group}))
        told["00080062"] = _element("UI", *sorted({found.sop_class_uid for found in group}))
        told["00201206"] = _element("IS", len({found.series_instance_uid for found in group}))
        told["00201208"] = _element("IS", len(group))
        return told
    told["0020000E"] = _element("UI", speaker.series_instance_uid)
    told["00080060"] = _element("CS", speaker.modality)
    if level is Level.SERIES:
        told["00201209"] = _element("IS", len(group))
    else:
        told["00080016"] = _element("UI", speaker.sop_class_uid)
        told["00080018"] = _element("UI", speaker.sop_instance_uid)
    return told


def retrieve_url(level: Level, found: Found, base_url: str) -> str:
    """Where the study, series or object is retrieved."""
    url = f"{base_url}/studies/{found.study_instance_uid}"
    if level is not Level.STUDY:
        url += f"/series/{found.series_instance_uid}"
    if level is Level.INSTANCE:
        url += f"/instances/{found.sop_instance_uid}"
    return url


def _element(vr: str, *values: str | int) -> Json:
    return {"vr": vr, "Value": list(values)}
