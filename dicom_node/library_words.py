"""Keeping the DICOM libraries' own words out of our logs."""

from __future__ import annotations

import logging
import warnings

from pynetdicom import _config


def silence_libraries() -> None:
    """Let pynetdicom and pydicom say nothing in this process.

    At every level they quote UIDs, names and other values of the objects they handle, in log lines, tracebacks and
    warnings alike: patient data. What an operator must know, the listener and the sender say themselves.
    """
    # Without its own handlers the library does not even put such lines together, for every PDU.
    _config.LOG_HANDLER_LEVEL = "none"
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
