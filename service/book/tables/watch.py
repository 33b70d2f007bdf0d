"""Tables of what watches the model over time: daily trials, and what readings of each device looked like.

Nothing in them is about a patient: numbers, names of findings, makers and models of devices.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.book.tables.base import Base, UtcDateTime


class TrialRow(Base):
    """One trial of a model on blank and known pictures; `checks_json` is a JSON list of check results."""

    __tablename__ = "trials"
    __table_args__ = (Index("ix_trials_model", "weights_sha256", "engine"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    model_name: Mapped[str] = mapped_column(String(255))
    model_version: Mapped[str] = mapped_column(String(64))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    engine: Mapped[str] = mapped_column(String(255))
    checks_json: Mapped[str] = mapped_column(Text)


class ImageSourceRow(Base):
    """A kind of device images come from."""

    __tablename__ = "image_sources"
    __table_args__ = (UniqueConstraint("manufacturer", "device_model"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    manufacturer: Mapped[str] = mapped_column(String(64))
    device_model: Mapped[str] = mapped_column(String(64))


class ObservationRow(Base):
    """What one image and its reading looked like: numbers by name, as JSON."""

    __tablename__ = "observations"
    __table_args__ = (Index("ix_observations_source", "source_id", "weights_sha256", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("image_sources.id"))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    at_utc: Mapped[datetime] = mapped_column(UtcDateTime)
    values_json: Mapped[str] = mapped_column(Text)


class DriftAlarmRow(Base):
    """A quantity that is not any more what it was, of one source and model; goes when it is again."""

    __tablename__ = "drift_alarms"
    source_id: Mapped[int] = mapped_column(ForeignKey("image_sources.id"), primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    quantity: Mapped[str] = mapped_column(String(64), primary_key=True)
    score: Mapped[float] = mapped_column(Double)
    evidence: Mapped[str] = mapped_column(String(255))
    since_utc: Mapped[datetime] = mapped_column(UtcDateTime)
