"""What is replaced or taken back is rejected in an archive of another maker, by Key Object Selections (IHE IOCM)."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from subprocess import run

import httpx
import pytest
from pydicom import Dataset, dcmread

from service.supervisor import role_command
from tests.promises.far_ends import dicom_destination, orthanc
from tests.promises.installation import Installation, free_port, installation
from training.phantoms.dicom import VARIANTS, phantom_dataset

_KOS = "1.2.840.10008.5.1.4.1.1.88.59"


def objects(pacs: httpx.Client) -> list[Dataset]:
    """Every object of the archive, without pixels."""
    files = [pacs.get(f"/instances/{uid}/file").content for uid in pacs.get("/instances").json()]
    return [dcmread(BytesIO(content), stop_before_pixels=True) for content in files]


def rejections(pacs: httpx.Client) -> list[Dataset]:
    """Key Object Selections of the archive, in the order they were made."""
    found = [one for one in objects(pacs) if one.SOPClassUID == _KOS]
    return sorted(found, key=lambda one: (str(one.ContentDate), str(one.ContentTime)))


def named_by(rejection: Dataset) -> set[str]:
    return {
        str(instance.ReferencedSOPInstanceUID)
        for study in rejection.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }


def results(site: Installation, version: int) -> set[str]:
    """SOP Instance UIDs of what the archive was sent of one version."""
    files = [path for kind in ("sr", "pr", "sc") for path in site.results.glob(f"*/v{version}/*_{kind}.dcm")]
    return {str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in files}


def title(rejection: Dataset) -> tuple[str, str]:
    code = rejection.ConceptNameCodeSequence[0]
    return str(code.CodeValue), str(code.CodingSchemeDesignator)


@pytest.mark.slow
@pytest.mark.interop
def test_a_replaced_version_and_a_retracted_one_are_each_rejected_in_the_archive(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    port = free_port()
    first, _ = phantom_dataset(9_660_001, VARIANTS[0], 256)
    late, _ = phantom_dataset(9_660_002, VARIANTS[0], 256)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "PatientBirthDate"):
        late[keyword] = first[keyword]
    for name, dataset in (("first", first), ("late", late)):
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    more = dicom_destination("pacs", "ORTHANC", port) + 'objects = ["sr", "pr", "sc", "ko"]\n'
    with orthanc(program("Orthanc"), tmp_path, dicom_port=port) as pacs, installation(more) as site:
        site.start()
        site.send([tmp_path / "first.dcm"])
        site.wait_until(lambda: site.all_done(1), 240, "the study to be done")
        assert rejections(pacs) == []
        site.send([tmp_path / "late.dcm"])
        site.wait_until(
            lambda: len(rejections(pacs)) == 1 and site.at_rest(), 240, "version 1 to be rejected"
        )
        (replaced,) = rejections(pacs)
        assert named_by(replaced) == results(site, 1)
        run(
            [
                *_raddraft("retract"),
                str(first.StudyInstanceUID),
                "--reason",
                "wrong side",
                "--config",
                site.config,
            ],
            check=True,
        )
        site.wait_until(
            lambda: len(rejections(pacs)) == 2 and site.at_rest(), 120, "version 2 to be rejected"
        )
        (taken_back,) = [one for one in rejections(pacs) if named_by(one) == results(site, 2)]
        # PS3.16 CID 7011: Rejected for Quality Reasons.
        assert title(taken_back) == ("113001", "DCM")
        assert len(objects(pacs)) == len(results(site, 1) | results(site, 2)) + 2
        assert site.account().deliveries["superseded"] == 0


def _raddraft(command: str) -> list[str]:
    return [*role_command("serve")[:-1], command]
