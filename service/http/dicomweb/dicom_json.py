"""Headers as DICOM JSON (PS3.18 Annex F), whatever their authors wrote into them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection
from typing import Any

from pydicom import DataElement, Dataset

Json = dict[str, Any]
# A value of more bytes is given by its address instead (PS3.18 F.2.2, BulkDataURI).
INLINE_BYTES_MAX = 1 << 20
_PIXELS = 0x7FE0


def header_json(
    header: Dataset,
    *,
    keywords: Collection[str] | None = None,
    bulk_data_uri: Callable[[str], str] | None = None,
) -> Json:
    """The data set without its pixels as DICOM JSON; an element that cannot be expressed is left out.

    Parameters
    ----------
    keywords
        Only these attributes; all without.
    bulk_data_uri
        Gives the address of a large value by its tag (8 hexadecimal digits); without it such values are left out.
    """
    found: Json = {}
    for tag in header.keys():  # noqa: SIM118 (iterating a data set would read every value at once)
        if tag.group in (0x0002, _PIXELS) or tag.element == 0:
            continue
        try:
            with warnings.catch_warnings():
                # The library's warnings quote the values they are about.
                warnings.simplefilter("ignore")
                element = header[tag]
                if keywords is None or element.keyword in keywords:
                    found[f"{tag:08X}"] = _element_json(element, bulk_data_uri)
        except Exception:
            # One malformed value must not hide the others from a viewer.
            continue
    # JSON is UTF-8, whatever the file was (PS3.18 F.2, SpecificCharacterSet).
    if "00080005" in found:
        found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return {tag: value for tag, value in found.items() if value}


def _element_json(element: DataElement, bulk_data_uri: Callable[[str], str] | None) -> Json:
    vr = str(element.VR)
    if vr == "SQ":
        return {"vr": "SQ", "Value": [header_json(item) for item in element.value]}
    if isinstance(element.value, bytes) and len(element.value) > INLINE_BYTES_MAX:
        if bulk_data_uri is None:
            return {}
        return {"vr": vr.split(" ")[-1], "BulkDataURI": bulk_data_uri(f"{element.tag:08X}")}
    told: Json = element.to_json_dict(None, INLINE_BYTES_MAX)
    if any(isinstance(value, float) and not math.isfinite(value) for value in told.get("Value", [])):
        return {}
    return told


def value_of(attributes: Json, tag: str) -> str:
    """First value of an attribute as text; empty where there is none."""
    values = attributes.get(tag, {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        return str(first.get("Alphabetic", ""))
    return "" if first is None else str(first)
