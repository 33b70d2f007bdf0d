"""What came of a rehearsal, on one page: the sender's log against the book, the book against the far ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from service.book.database import reading
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, InstanceRow, StudyRow
from service.cli.demo.ehr import DemoEhr
from tests.promises.installation import Installation
from tests.promises.rehearsal.faults import FaultyPacs
from tests.promises.rehearsal.modality import ModalityLog
from tests.promises.rehearsal.plan import Study

_ENDS = frozenset({"analysed", "not_assessed", "ignored", "duplicate", "quarantined", "failed"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Numbers of the one-page report, and every promise that was broken.

    Attributes
    ----------
    seconds
        By what was measured and by ``"STAT"`` or ``"routine"``.
    """

    studies: int
    stat: int
    objects: int
    acknowledged_objects: int
    successes: int
    refused: int
    accounted: int
    balanced: bool
    at_pacs: int
    at_ehr: int
    pacs_objects: int
    pacs_refused: int
    second_versions: int
    took_s: float
    faults: tuple[str, ...]
    seconds: dict[tuple[str, str], list[float]]
    cpu_s: dict[str, float]
    broken: tuple[str, ...]

    def page(self) -> str:
        """The report."""
        lines = [
            f"Rehearsal of {self.studies} studies ({self.stat} STAT, {self.second_versions} with a late image) "
            f"in {self.took_s:.0f} s",
            "",
            f"  sent            {self.objects} objects",
            f"  acknowledged    {self.acknowledged_objects} objects by the senders' log: {self.successes} successes, "
            f"{self.refused} tries refused or cut off and repeated",
            f"  accounted       {self.accounted} objects, book {'balanced' if self.balanced else 'NOT BALANCED'}",
            f"  delivered       {self.at_pacs} studies whole in the PACS ({self.pacs_objects} objects, "
            f"{self.pacs_refused} refused there first), {self.at_ehr} in the EHR",
            "",
            f"  {'seconds':<34}{'':>8}{'n':>6}{'p50':>9}{'p95':>9}",
        ]
        for (what, kind), values in sorted(self.seconds.items()):
            lines.append(
                f"  {what:<34}{kind:>8}{len(values):>6}{_share(values, 0.5):>9.2f}{_share(values, 0.95):>9.2f}"
            )
        lines += ["", "  processor seconds since each role's last start"]
        lines += [f"  {role:<48}{used:>9.1f}" for role, used in sorted(self.cpu_s.items())]
        lines += ["", *(f"  fault: {fault}" for fault in self.faults), ""]
        lines += [f"  BROKEN: {promise}" for promise in self.broken] or ["  Nothing lost, nothing twice."]
        return "\n".join(lines)


def _share(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def judge(
    site: Installation,
    pacs: FaultyPacs,
    ehr: DemoEhr,
    studies: Sequence[Study],
    log: ModalityLog,
    faults: tuple[str, ...],
    took_s: float,
) -> Verdict:
    """Compare the senders' log, the book and the far ends."""
    planned = {image.sop_instance_uid for study in studies for image in study.images}
    acknowledged = {entry.image.sop_instance_uid for entry in log.acknowledged}
    cpu_s = site.cpu_s()
    states, wanted, versions = _from_the_book(site)
    account = site.account()
    broken = []
    if missing := planned - acknowledged:
        broken.append(f"{len(missing)} objects were never acknowledged")
    if lost := {uid for uid in acknowledged if states.get(uid, "") not in _ENDS}:
        broken.append(f"{len(lost)} acknowledged objects have not ended in a named state")
    if not account.balanced:
        broken.append(f"the book does not balance: {account.as_json()['problems']}")
    if account.acknowledged < len(log.acknowledged):
        broken.append(
            f"{len(log.acknowledged)} successes were answered, {account.acknowledged} receipts are there"
        )
    at_pacs = at_ehr = 0
    for study in studies:
        uid = study.study_instance_uid
        held = {returned.sop_instance_uid for returned in pacs.of_study(uid)}
        if versions.get(uid, 0) != len(study.images):
            broken.append(
                f"study {study.number} has {versions.get(uid, 0)} versions, not {len(study.images)}"
            )
        if wanted[uid] and held == wanted[uid]:
            at_pacs += 1
        else:
            broken.append(
                f"study {study.number}: {len(wanted[uid] - held)} objects missing in the PACS, "
                f"{len(held - wanted[uid])} too many"
            )
        reports = len(ehr.reports_of_study(uid))
        at_ehr += reports == 1
        if reports != 1:
            broken.append(f"study {study.number} has {reports} reports in the EHR")
    return Verdict(
        studies=len(studies),
        stat=sum(study.is_stat for study in studies),
        objects=len(planned),
        acknowledged_objects=len(acknowledged),
        successes=len(log.acknowledged),
        refused=log.refused,
        accounted=sum(states.get(uid, "") in _ENDS for uid in acknowledged),
        balanced=account.balanced,
        at_pacs=at_pacs,
        at_ehr=at_ehr,
        pacs_objects=len(pacs.returned),
        pacs_refused=pacs.refused,
        second_versions=sum(study.late is not None for study in studies),
        took_s=took_s,
        faults=faults,
        seconds=_seconds(pacs, studies, log),
        cpu_s=cpu_s,
        broken=tuple(broken),
    )


def _from_the_book(site: Installation) -> tuple[dict[str, str], dict[str, set[str]], dict[str, int]]:
    """State by SOP Instance UID; what the PACS must hold, and the newest version, by Study Instance UID."""
    wanted: dict[str, set[str]] = defaultdict(set)
    with site.book() as book, reading(book.engine) as session:
        states = {
            row[0]: row[1] for row in session.execute(select(InstanceRow.sop_instance_uid, InstanceRow.state))
        }
        rows = session.execute(
            select(StudyRow.study_instance_uid, ArtefactRow.sop_instance_uid)
            .join(DeliveryRow, DeliveryRow.study_id == StudyRow.id)
            .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
            .where(DeliveryRow.destination == "pacs", DeliveryRow.state != "superseded")
        )
        for study_uid, sop_uid in rows:
            wanted[study_uid].add(sop_uid)
        versions = {
            row[0]: row[1]
            for row in session.execute(
                select(StudyRow.study_instance_uid, DraftRow.version)
                .join(DraftRow, DraftRow.study_id == StudyRow.id)
                .order_by(DraftRow.version)
            )
        }
    return states, wanted, versions


def _seconds(
    pacs: FaultyPacs, studies: Sequence[Study], log: ModalityLog
) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in log.acknowledged:
        found["last byte to acknowledgement", _kind(entry.is_stat)].append(entry.waited_s)
    last = log.last_of_study()
    for study in studies:
        came = [pacs.arrived_s[r.sop_instance_uid] for r in pacs.of_study(study.study_instance_uid)]
        if came and study.study_instance_uid in last:
            delivered_s = max(came) - last[study.study_instance_uid]
            found["last image to last object in the PACS", _kind(study.is_stat)].append(delivered_s)
    return dict(found)


def _kind(is_stat: bool) -> str:
    return "STAT" if is_stat else "routine"
