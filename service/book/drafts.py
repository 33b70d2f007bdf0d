"""The Drafts of a study, newest first."""

from __future__ import annotations

from sqlalchemy import Engine, select

from clinical import Draft, Finding, draft_from_json
from service.book.database import reading
from service.book.tables import DraftRow


def latest_draft(engine: Engine, study_id: int) -> tuple[int, Draft] | None:
    """Row id and value of the study's newest Draft."""
    with reading(engine) as session:
        row = session.scalars(
            select(DraftRow).where(DraftRow.study_id == study_id).order_by(DraftRow.version.desc()).limit(1)
        ).first()
        if row is None or row.purged_at_utc is not None:
            return None
        return row.id, draft_from_json(row.draft_json)


def earlier_findings(engine: Engine, study_id: int, version: int) -> tuple[Finding, ...]:
    """Findings of the version before `version`, for whoever must withdraw those that are gone."""
    with reading(engine) as session:
        row = session.scalars(
            select(DraftRow)
            .where(DraftRow.study_id == study_id, DraftRow.version < version)
            .order_by(DraftRow.version.desc())
            .limit(1)
        ).first()
    if row is None or row.purged_at_utc is not None:
        return ()
    return tuple(finding for read in draft_from_json(row.draft_json).readings for finding in read.findings)
