"""What images of each device and their readings looked like, and which of it has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clinical import Permanent
from service.book.audit import Action, AuditEvent, note
from service.book.database import reading, writing
from service.book.tables import DriftAlarmRow, ImageSourceRow, ObservationRow
from service.drift import Observation, QuantityVerdict

# Of what followed the base, as many as are looked at.
_LATER_KEPT = 1000
_LONGEST_EVIDENCE = 255


@dataclass(frozen=True, slots=True)
class Device:
    """Maker and model of a device, as headers state them (0008,0070) and (0008,1090); both may be empty."""

    manufacturer: str
    model: str

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(part for part in (self.manufacturer, self.model) if part) or "unnamed device"


@dataclass(frozen=True, slots=True)
class Observed:
    """Observations of one device by one model: the first ones, and the newest of those that followed."""

    source_id: int
    device: Device
    weights_sha256: str
    first: tuple[Observation, ...]
    later: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """A quantity of a device that is not what it was."""

    source_id: int
    device: Device
    weights_sha256: str
    quantity: str
    score: float
    evidence: str
    since_utc: datetime


def note_observations(
    engine: Engine,
    observations: Sequence[tuple[Device, Observation]],
    *,
    weights_sha256: str,
    now: datetime,
) -> None:
    """Keep what images looked like."""
    if not observations:
        return
    for device in dict.fromkeys(device for device, _ in observations):
        _know(engine, device)
    with writing(engine) as session:
        for device, observed in observations:
            source = _source(session, device)
            assert source is not None
            values = {"numbers": dict(observed.numbers), "events": dict(observed.events)}
            session.add(
                ObservationRow(
                    source_id=source.id,
                    weights_sha256=weights_sha256,
                    at_utc=now,
                    values_json=json.dumps(values),
                )
            )


def _know(engine: Engine, device: Device) -> None:
    """Make the device's row if there is none; another worker may have been faster."""
    with reading(engine) as session:
        if _source(session, device) is not None:
            return
    try:
        with writing(engine) as session:
            session.add(ImageSourceRow(manufacturer=device.manufacturer, device_model=device.model))
    except IntegrityError:
        return


def _source(session: Session, device: Device) -> ImageSourceRow | None:
    return session.scalars(
        select(ImageSourceRow).where(
            ImageSourceRow.manufacturer == device.manufacturer, ImageSourceRow.device_model == device.model
        )
    ).first()


def observed(engine: Engine, baseline_images: int) -> list[Observed]:
    """Every device and model with observations."""
    with reading(engine) as session:
        pairs = session.execute(
            select(ImageSourceRow, ObservationRow.weights_sha256)
            .join(ObservationRow, ObservationRow.source_id == ImageSourceRow.id)
            .distinct()
        ).all()
        return [_observed(session, source, weights, baseline_images) for source, weights in pairs]


def _observed(session: Session, source: ImageSourceRow, weights: str, baseline_images: int) -> Observed:
    mine = (ObservationRow.source_id == source.id, ObservationRow.weights_sha256 == weights)
    query = select(ObservationRow).where(*mine)
    first = session.scalars(query.order_by(ObservationRow.id).limit(baseline_images)).all()
    later = session.scalars(
        query.where(ObservationRow.id > first[-1].id).order_by(ObservationRow.id.desc()).limit(_LATER_KEPT)
    ).all()
    return Observed(
        source.id,
        Device(source.manufacturer, source.device_model),
        weights,
        tuple(_values(row) for row in first),
        tuple(_values(row) for row in reversed(later)),
    )


def _values(row: ObservationRow) -> Observation:
    values = json.loads(row.values_json)
    return Observation(values["numbers"], values["events"])


def keep_alarms(
    engine: Engine, source_id: int, weights_sha256: str, changed: Sequence[QuantityVerdict], *, now: datetime
) -> list[QuantityVerdict]:
    """Make a device's alarms those of its changed quantities; return the new ones."""
    with writing(engine) as session:
        kept = {
            row.quantity: row
            for row in session.scalars(
                select(DriftAlarmRow).where(
                    DriftAlarmRow.source_id == source_id, DriftAlarmRow.weights_sha256 == weights_sha256
                )
            )
        }
        new = [verdict for verdict in changed if verdict.quantity not in kept]
        for verdict in changed:
            row = kept.pop(verdict.quantity, None) or DriftAlarmRow(
                source_id=source_id,
                weights_sha256=weights_sha256,
                quantity=verdict.quantity,
                since_utc=now,
            )
            row.score, row.evidence = verdict.score, verdict.evidence[:_LONGEST_EVIDENCE]
            session.add(row)
        for gone in kept.values():
            session.delete(gone)
        return new


def drift_alarms(
    engine: Engine, device: Device | None = None, weights_sha256: str | None = None
) -> list[DriftAlarm]:
    """Alarms, the oldest first: all of them, or those of one device and model."""
    query = select(DriftAlarmRow, ImageSourceRow).join(
        ImageSourceRow, ImageSourceRow.id == DriftAlarmRow.source_id
    )
    if device is not None:
        query = query.where(
            ImageSourceRow.manufacturer == device.manufacturer, ImageSourceRow.device_model == device.model
        )
    if weights_sha256 is not None:
        query = query.where(DriftAlarmRow.weights_sha256 == weights_sha256)
    with reading(engine) as session:
        return [
            DriftAlarm(
                source.id,
                Device(source.manufacturer, source.device_model),
                alarm.weights_sha256,
                alarm.quantity,
                alarm.score,
                alarm.evidence,
                alarm.since_utc,
            )
            for alarm, source in session.execute(query.order_by(DriftAlarmRow.since_utc)).all()
        ]


def begin_anew(engine: Engine, source_id: int, *, actor: str, now: datetime) -> None:
    """Take what comes from now on as the base of a device: its change is known and wanted.

    Raises
    ------
    Permanent
        ``no-such-source``.
    """
    with writing(engine) as session:
        source = session.get(ImageSourceRow, source_id)
        if source is None:
            raise Permanent(
                "no-such-source", f"no device has the number {source_id}; see `raddraft drift list`"
            )
        session.execute(delete(ObservationRow).where(ObservationRow.source_id == source_id))
        session.execute(delete(DriftAlarmRow).where(DriftAlarmRow.source_id == source_id))
        note(session, AuditEvent(Action.CONFIGURE, actor, detail=f"drift base of device {source_id}"), now)


def forget_old(engine: Engine, baseline_images: int) -> int:
    """Delete what is neither in a base nor among the newest; return how many rows went."""
    gone = 0
    with writing(engine) as session:
        pairs = session.execute(
            select(ObservationRow.source_id, ObservationRow.weights_sha256)
            .group_by(ObservationRow.source_id, ObservationRow.weights_sha256)
            .having(func.count() > baseline_images + _LATER_KEPT)
        ).all()
        for source_id, weights in pairs:
            mine = (ObservationRow.source_id == source_id, ObservationRow.weights_sha256 == weights)
            ids = select(ObservationRow.id).where(*mine)
            last_of_base = session.scalar(
                ids.order_by(ObservationRow.id).offset(baseline_images - 1).limit(1)
            )
            oldest_kept = session.scalar(
                ids.order_by(ObservationRow.id.desc()).offset(_LATER_KEPT - 1).limit(1)
            )
            doomed = session.scalars(
                delete(ObservationRow)
                .where(*mine, ObservationRow.id > last_of_base, ObservationRow.id < oldest_kept)
                .returning(ObservationRow.id)
            ).all()
            gone += len(doomed)
    return gone
