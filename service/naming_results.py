"""Results an earlier edition stored without their series and SOP class are named while their files are there."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import Engine

from clinical import RadDraftError
from dicom_node import Spool
from reporting import patient_digest_of
from service.book.artefacts import name_artefacts, unnamed_results

_log = structlog.get_logger(__name__)
_NAMES = ("SOPClassUID", "SeriesInstanceUID", "PatientID", "IssuerOfPatientID")


def name_results(engine: Engine, results: Spool, keys: Sequence[str]) -> None:
    """Write into the book what the headers of these files say, where it does not know it yet.

    An object that cannot be read stays without its names: nothing can be told of it afterwards.
    """
    names = {}
    for one in unnamed_results(engine, keys):
        try:
            with results.open(one.spool_key) as file:
                header = dcmread(file, stop_before_pixels=True, specific_tags=list(_NAMES))
            names[one.artefact_id] = (
                str(header.SeriesInstanceUID),
                str(header.SOPClassUID),
                patient_digest_of(header),
            )
        except (RadDraftError, OSError, InvalidDicomError, AttributeError) as error:
            _log.warning("result_not_named", artefact_row=one.artefact_id, error_type=type(error).__name__)
    if names:
        name_artefacts(engine, names)
