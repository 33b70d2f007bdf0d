"""The one place that asks for the time."""

from __future__ import annotations

from datetime import UTC, datetime


def now_utc() -> datetime:
    """This moment, timezone-aware, in UTC."""
    return datetime.now(UTC)
