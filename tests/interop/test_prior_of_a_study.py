"""A whole service beside an archive of another maker: a study comes, and its draft says what came before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from clinical import PriorOutcome
from service.book import Book
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port, installation
from tests.service.dicomweb.served import encoded
from training.phantoms.dicom import VARIANTS, phantom_dataset

_SIZE_PX = 256


@pytest.mark.slow
@pytest.mark.interop
def test_the_draft_names_the_prior_says_that_nothing_was_compared_and_the_prior_is_kept_unread(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    pacs_port, move_port = free_port(), free_port()
    newer, _ = phantom_dataset(9_650_001, VARIANTS[0], _SIZE_PX)
    older, _ = phantom_dataset(9_650_002, VARIANTS[0], _SIZE_PX)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"):
        older[keyword] = newer[keyword]
    older.StudyDate = older.SeriesDate = older.AcquisitionDate = "20190203"
    older.BodyPartExamined = "CHEST"
    newer.save_as(tmp_path / "newer.dcm", enforce_file_format=True)
    known = {
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"priors": ["RD_PRIORS", "127.0.0.1", move_port]},
    }
    asked = (
        f'[priors]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {pacs_port}\nfetch = true\n'
        f'move = {{ ae_title = "RD_PRIORS", port = {move_port} }}\n'
    )
    with (
        orthanc(program("Orthanc"), tmp_path, dicom_port=pacs_port, more=known) as pacs,
        installation(asked) as site,
    ):
        pacs.post("/instances", content=encoded(older)).raise_for_status()
        site.start()
        site.send([tmp_path / "newer.dcm"])
        site.wait_until(lambda: site.all_done(2), 240, "the study to be done and its prior to be there")
        with site.book() as book:
            assert_named_and_kept(book, str(newer.StudyInstanceUID), str(older.StudyInstanceUID))
        assert site.account().balanced
        (report,) = site.results.glob("*/v1/report.txt")
        words = report.read_text()
        assert "2019-02-03" in words and "not compare" in words
        (document,) = site.results.glob("*/v1/*_sr.dcm")
        values = [str(each.value) for each in dcmread(document).iterall() if each.keyword == "TextValue"]
        assert any("2019-02-03" in value and "not compare" in value for value in values)


def assert_named_and_kept(book: Book, study_uid: str, prior_uid: str) -> None:
    read, kept = book.study(study_uid), book.study(prior_uid)
    assert read is not None and read.draft is not None and kept is not None
    prior = read.draft.prior
    assert prior is not None
    assert (prior.outcome, prior.study_instance_uid) == (PriorOutcome.FOUND, prior_uid)
    assert (kept.summary.state, [i.reason_code for i in kept.instances]) == ("ignored", ["prior"])
    assert kept.draft is None
