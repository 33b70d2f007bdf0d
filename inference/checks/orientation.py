"""What the header says about left and right of the stored picture."""

from __future__ import annotations

from pydicom import Dataset

from clinical import CheckResult, CheckStatus

_NAME, _VERSION = "orientation-by-header", "1"


def orientation_check(header: Dataset) -> CheckResult:
    """Whether the stored picture lies as every side of a draft assumes: its left edge at the patient's right.

    Patient Orientation (0020,0020), PS3.3 C.7.6.1.1.1, names the direction of a row first: ``L`` on a standard frontal
    radiograph, ``R`` on a mirrored one. Image Laterality (0020,0062) and Laterality (0020,0060) of a chest, which is no
    paired part, are empty or ``U``; a single side there does not fit a frontal view of both lungs. A burnt-in marker is
    not read.
    """
    orientation = header.get("PatientOrientation")
    row = (
        str(orientation[0]).upper() if isinstance(orientation, list | tuple) or _several(orientation) else ""
    )
    if row.startswith("R"):
        return _result(CheckStatus.FAIL, "Patient Orientation says the stored picture is mirrored")
    side = next(
        (
            v
            for k in ("ImageLaterality", "Laterality")
            if (v := str(header.get(k, "") or "").upper()) in ("L", "R")
        ),
        "",
    )
    if side:
        return _result(CheckStatus.WARN, f"the header names one side ({side}) for a picture of both")
    if row.startswith("L"):
        return _result(CheckStatus.PASS, "Patient Orientation says the standard way round")
    return _result(CheckStatus.NOT_RUN, "the header states no orientation")


def _several(value: object) -> bool:
    return hasattr(value, "__getitem__") and not isinstance(value, str) and bool(value)


def _result(status: CheckStatus, evidence: str) -> CheckResult:
    return CheckResult(_NAME, _VERSION, status, evidence)
