"""The findings as a TID 1500 Measurement Report (PS3.16), Comprehensive 3D SR: one per Draft, alone in its series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
)
from highdicom.sr.templates import DEFAULT_LANGUAGE
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage

from clinical import Draft
from clinical.terms import LOCAL_SCHEME, OIFM_SCHEME
from reporting.evaluations import qualitative_evaluations
from reporting.measurement_groups import measurement_groups
from reporting.references import ResultReference
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.sr_codes import CONTAINS, HAS_CONCEPT_MOD
from reporting.sr_document import DocumentKind, sr_document
from reporting.sr_observer import device_observer
from reporting.sr_sources import (
    ReportSources,
    image_library,
    procedure_reported,
    report_sources,
)

_TEMPLATE = "1500"


def build_sr(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    profile: SiteProfile = DEFAULT_PROFILE,
    earlier: Sequence[ResultReference] = (),
) -> Dataset:
    """The Draft's structured report: UNVERIFIED and PRELIMINARY, with a device as its observer.

    Parameters
    ----------
    sources
        Source images by SOP Instance UID; every read image must be there, and at least one.
    earlier
        Results of the version before; its report is named as this one's predecessor.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if a read image cannot be referenced.
    """
    found = report_sources(draft, sources)
    what = DocumentKind("sr", Comprehensive3DSRStorage, profile.sr_series_number, "findings")
    report = sr_document(_content(draft, found, profile), what, draft, found, profile, earlier)
    report.CodingSchemeIdentificationSequence = DicomSequence(_private_schemes())
    return report


def _content(draft: Draft, sources: ReportSources, profile: SiteProfile) -> ContainerContentItem:
    """Root of the tree in the order of TID 1500.

    Put together by hand: highdicom's MeasurementReport refuses a report without measurement groups. The Imaging
    Measurements container is there even when it is empty, as viewers look for it.
    """
    root = ContainerContentItem(name=codes.DCM.ImagingMeasurementReport, template_id=_TEMPLATE)
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(DEFAULT_LANGUAGE))
    content.extend(device_observer(draft, sources.first, profile))
    content.append(
        CodeContentItem(
            name=codes.DCM.ProcedureReported,
            value=procedure_reported(sources.first),
            relationship_type=HAS_CONCEPT_MOD,
        )
    )
    content.append(image_library(sources))
    measurements = ContainerContentItem(name=codes.DCM.ImagingMeasurements, relationship_type=CONTAINS)
    measurements.ContentSequence = ContentSequence()
    for group in measurement_groups(draft, sources, profile):
        measurements.ContentSequence.extend(group)
    if not measurements.ContentSequence:
        del measurements.ContentSequence
    content.append(measurements)
    content.append(qualitative_evaluations(draft, sources, profile.banner))
    root.ContentSequence = content
    return root


def _private_schemes() -> list[Dataset]:
    """Where the codes of schemes without a DICOM designator come from (PS3.3 C.12.1.1.3)."""
    said = (
        (LOCAL_SCHEME, "RadDraft local codes", "RadDraft"),
        (OIFM_SCHEME, "Open Imaging Finding Models", "Open Imaging Data Model"),
    )
    items = []
    for designator, name, organization in said:
        item = Dataset()
        item.CodingSchemeDesignator = designator
        item.CodingSchemeName = name
        item.CodingSchemeResponsibleOrganization = organization
        items.append(item)
    return items
