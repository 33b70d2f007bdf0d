"""Libraries that quote what they read reach no log, however late they are imported."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from service.logs import set_up_logging
set_up_logging()
import logging
from pydicom import Dataset
from pydicom.config import settings
data = Dataset()
data.StudyInstanceUID = "999.999.01.23.45.6789"
data.PatientBirthDate = "19610417 of nobody"
logging.getLogger("pydicom").critical("Quetzalcoatl")
logging.getLogger("pynetdicom.dul").error("Quetzalcoatl")
logging.getLogger("some.other").warning("a warning of another library")
"""


def test_a_library_that_is_imported_later_is_as_silent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    said = done.stdout + done.stderr
    assert "a warning of another library" in said
    for word in ("999.999", "19610417", "Quetzalcoatl"):
        assert word not in said
