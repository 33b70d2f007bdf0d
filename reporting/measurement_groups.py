"""Imaging Measurements of the report: one group per box (TID 1410), each with its region.

A group without a region makes viewers refuse the whole report, so what has no box is said in the Qualitative
Evaluations container instead.
"""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    ImageRegion,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from highdicom.sr.enum import GraphicTypeValues
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence

from clinical import Draft, Finding, FindingLabel, Reading, derived_uid
from reporting.charset import writable
from reporting.equipment import algorithm_name, algorithm_version, coded
from reporting.numbering import NumberedFinding, numbered_findings
from reporting.outline import outline_points
from reporting.site_profile import SiteProfile
from reporting.sr_codes import ARTIFICIAL_INTELLIGENCE, CHEST, COMMENT, concept, text_item
from reporting.sr_sources import ReportSources
from reporting.wording import finding_line

Group = PlanarROIMeasurementsAndQualitativeEvaluations


def measurement_groups(draft: Draft, sources: ReportSources, profile: SiteProfile) -> list[Group]:
    """Groups of every Reading in order; a box outside its image makes none."""
    return [
        group
        for image_number, reading in enumerate(draft.readings, start=1)
        for entry in numbered_findings(reading)
        for group in _groups(draft, reading, entry, image_number, sources, profile)
    ]


def box_tracking_uid(finding: Finding, index: int) -> str:
    """Tracking UID of a finding's box: the finding's own for the first.

    Viewers merge groups that share a tracking UID into one, so further boxes have one derived from it.
    """
    return finding.uid if index == 0 else derived_uid("box", finding.uid, str(index))


def algorithm(draft: Draft, header: Dataset, profile: SiteProfile) -> AlgorithmIdentification:
    """TID 4019: of the family artificial intelligence, with all that is needed to repeat the reading."""
    model = draft.model
    parameters = (
        f"weights sha256 {model.weights_sha256}",
        f"prompts sha256 {model.prompts_sha256}",
        f"configuration sha256 {draft.configuration_sha256}",
        f"engine {model.engine}",
        f"precision {model.precision}",
    )
    return AlgorithmIdentification(
        name=algorithm_name(draft, header),
        version=algorithm_version(draft, header),
        family=ARTIFICIAL_INTELLIGENCE,
        manufacturer=profile.manufacturer,
        parameters=[writable(line, header) for line in parameters],
    )


def _groups(
    draft: Draft,
    reading: Reading,
    entry: NumberedFinding,
    image_number: int,
    sources: ReportSources,
    profile: SiteProfile,
) -> list[Group]:
    groups = []
    image = reading.image
    for index, box in enumerate(entry.finding.boxes):
        points = outline_points(box.box_px, rows=image.rows, columns=image.columns)
        if points is None:
            continue
        name = f"Finding {entry.number}" if index == 0 else f"Finding {entry.number}, box {index + 1}"
        if len(draft.readings) > 1:
            name = f"Image {image_number}, {name[0].lower()}{name[1:]}"
        tracking = TrackingIdentifier(uid=box_tracking_uid(entry.finding, index), identifier=name)
        groups.append(
            _group(
                entry.finding,
                tracking,
                image_region(points, sources.stand_ins[image.sop_instance_uid].evidence),
                algorithm(draft, sources.first, profile),
                sources.first,
            )
        )
    return groups


def image_region(points: NDArray[np.float64], evidence: Dataset) -> ImageRegion:
    """SCOORD POLYLINE, closed, selected from the image it was seen on."""
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=SourceImageForRegion(evidence.SOPClassUID, evidence.SOPInstanceUID),
    )


def _group(
    finding: Finding,
    tracking: TrackingIdentifier,
    region: ImageRegion,
    algorithm_id: AlgorithmIdentification,
    header: Dataset,
) -> Group:
    group = Group(
        tracking_identifier=tracking,
        referenced_region=region,
        finding_type=_with_equivalents(finding.label),
        algorithm_id=algorithm_id,
        finding_sites=_sites(finding),
    )
    # The comment is what viewers show beside the box. No number stands in the group: one without coordinates of its
    # own breaks their conversion into measurements.
    group[0].ContentSequence.append(text_item(COMMENT, writable(finding_line(finding), header)))
    return group


def _with_equivalents(label: FindingLabel) -> CodedConcept:
    """The label's code with its other verified codes as Equivalent Code Sequence (0008,0121), PS3.3 Table 8.8-1."""
    code = concept(label.code)
    if label.equivalent_codes:
        code.EquivalentCodeSequence = DicomSequence([coded(term) for term in label.equivalent_codes])
    return code


def _sites(finding: Finding) -> list[FindingSite] | None:
    side = finding.laterality.code
    if finding.site is not None:
        side = finding.site.laterality.code or side
        return [FindingSite(concept(finding.site.code), laterality=concept(side) if side else None)]
    # A side alone belongs to a site as well; the chest is true of every finding here.
    return [FindingSite(CHEST, laterality=concept(side))] if side else None
