"""The images a structured report speaks of: references, image library, order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
)
from highdicom.sr.enum import RelationshipTypeValues
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.codedict import codes

from clinical import Draft, ImageRef, Permanent
from reporting.source import REQUESTS, SourceImage, text_of, writable_element
from reporting.sr_codes import CHEST_SINGLE_VIEW, CONTAINS, SOURCE
from reporting.stand_in import StandIn, stand_in

_ACQUISITION = RelationshipTypeValues.HAS_ACQ_CONTEXT
_PIXELS = CodedConcept("{pixels}", "UCUM", "Pixels")
# (0040,A370) of an SR against (0040,0275) of an image: the attributes both speak of an order with.
_REQUEST_TYPE_2 = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)
_REQUEST_SEQUENCES = ("ReferencedStudySequence", "RequestedProcedureCodeSequence")


@dataclass(frozen=True, slots=True)
class ReportSources:
    """Stand-ins of the Draft's images by SOP Instance UID, and the header the report copies from.

    Attributes
    ----------
    first
        Header of the first image that can be referenced.
    """

    first: Dataset
    stand_ins: Mapping[str, StandIn]
    images: Mapping[str, ImageRef]

    @property
    def true_uids(self) -> dict[str, str]:
        """Every UID a stand-in hides, by the one that stands for it."""
        return {clean: true for one in self.stand_ins.values() for clean, true in one.true_uids.items()}


def report_sources(draft: Draft, sources: Mapping[str, SourceImage]) -> ReportSources:
    """The images a report of `draft` can reference.

    Raises
    ------
    Permanent
        ``source-header-unusable`` if a read image, or every image, cannot be referenced.
    """
    images = {r.image.sop_instance_uid: r.image for r in draft.readings}
    stand_ins = {uid: _stand_in(draft, image, sources) for uid, image in images.items()}
    for outcome in draft.other_images:
        uid = outcome.image.sop_instance_uid
        if uid in images or uid not in sources:
            continue
        try:
            stand_ins[uid] = _stand_in(draft, outcome.image, sources)
        except Permanent:
            continue  # an image nobody read needs no reference; the text says why it was not read
        images[uid] = outcome.image
    if not stand_ins:
        raise Permanent("source-header-unusable", "no image of the study can be referenced by a result")
    return ReportSources(sources[next(iter(stand_ins))].header, stand_ins, images)


def _stand_in(draft: Draft, image: ImageRef, sources: Mapping[str, SourceImage]) -> StandIn:
    source = sources.get(image.sop_instance_uid)
    if source is None:
        raise Permanent("source-header-unusable", "the header of a read image is missing")
    return stand_in(source.header, draft.study_instance_uid, rows=image.rows, columns=image.columns)


def image_item(
    evidence: Dataset, relationship: RelationshipTypeValues, purpose: CodedConcept = SOURCE
) -> ImageContentItem:
    """IMAGE content item that references a source."""
    return ImageContentItem(
        name=purpose,
        referenced_sop_class_uid=evidence.SOPClassUID,
        referenced_sop_instance_uid=evidence.SOPInstanceUID,
        relationship_type=relationship,
    )


def image_library(sources: ReportSources) -> ContainerContentItem:
    """TID 1600: every image with its modality and size.

    highdicom's own needs orientation and spacing, which many radiographs do not state.
    """
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=CONTAINS)
    group.ContentSequence = ContentSequence()
    for uid, one in sources.stand_ins.items():
        item = image_item(one.evidence, CONTAINS)
        item.ContentSequence = ContentSequence(_descriptors(sources.images[uid]))
        group.ContentSequence.append(item)
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, relationship_type=CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _descriptors(image: ImageRef) -> list[CodeContentItem | NumContentItem]:
    """TID 1602: what is known for certain."""
    known: list[CodeContentItem | NumContentItem] = []
    modality = {"CR": codes.DCM.ComputedRadiography, "DX": codes.DCM.DigitalRadiography}.get(image.modality)
    if modality is not None:
        known.append(CodeContentItem(name=codes.DCM.Modality, value=modality, relationship_type=_ACQUISITION))
    for name, count in ((codes.DCM.PixelDataRows, image.rows), (codes.DCM.PixelDataColumns, image.columns)):
        if count > 0:
            known.append(NumContentItem(name=name, value=count, unit=_PIXELS, relationship_type=_ACQUISITION))
    return known


def procedure_reported(header: Dataset) -> CodedConcept:
    """The imaging procedure analysed, from the source where it says so, never the algorithm (IHE AIR)."""
    for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence"):
        element = writable_element(header, keyword)
        for item in element.value if element is not None and element.VR == "SQ" else ():
            parts = [text_of(item, k) for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")]
            if all(parts) and all(part.isascii() for part in parts) and len(parts[2]) <= 64:
                try:
                    return CodedConcept(*parts)
                except ValueError:
                    continue
    return CHEST_SINGLE_VIEW


def referenced_requests(header: Dataset, study_instance_uid: str) -> DicomSequence | None:
    """(0040,A370) of the report: the source's own, or made of its (0040,0275); None where it states no order."""
    own = writable_element(header, REQUESTS[0])
    if own is not None and own.VR == "SQ" and own.value:
        return DicomSequence(own.value)
    attributes = writable_element(header, REQUESTS[1])
    if attributes is None or attributes.VR != "SQ" or not attributes.value:
        return None
    return DicomSequence([_request(item, header, study_instance_uid) for item in attributes.value])


def _request(attributes: Dataset, header: Dataset, study_instance_uid: str) -> Dataset:
    """PS3.3 Table C.17-2, Referenced Request: type 2 attributes stay empty where the order does not state them."""
    request = Dataset()
    request.StudyInstanceUID = study_instance_uid
    for keyword in _REQUEST_TYPE_2:
        element = writable_element(attributes, keyword)
        if element is None and keyword == "AccessionNumber":
            element = writable_element(header, keyword)
        if element is None:
            setattr(request, keyword, "")
        else:
            request.add(element)
    for keyword in _REQUEST_SEQUENCES:
        element = writable_element(attributes, keyword)
        setattr(request, keyword, DicomSequence(element.value if element is not None else []))
    return request
