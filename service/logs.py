"""Logging: one JSON line per event on standard error, with row ids instead of patient data."""

from __future__ import annotations

import logging
import sys
import warnings

import structlog

_QUOTING_LIBRARIES = frozenset({"pydicom", "pynetdicom", "highdicom"})


def set_up_logging(level: str = "INFO") -> None:
    """Send our own events and the libraries' warnings to standard error.

    Libraries may quote a data set in their messages and tracebacks; of theirs only warnings pass, without tracebacks.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutTraceback("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # pydicom's warnings quote header values: patient data.
    warnings.filterwarnings("ignore", category=UserWarning)
    # Not by these loggers' levels: pydicom sets its own anew when it is imported, which may be later than this.
    handler.addFilter(_from_no_quoting_library)


def _from_no_quoting_library(record: logging.LogRecord) -> bool:
    """Whether a record is not from a library that quotes UIDs, names and other values of the objects it handles."""
    return record.name.partition(".")[0] not in _QUOTING_LIBRARIES


class _WithoutTraceback(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        plain = logging.makeLogRecord(
            {**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None}
        )
        line = super().format(plain)
        return f"{line} ({kind})" if kind else line
