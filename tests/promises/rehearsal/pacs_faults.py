"""A PACS that is ill for minutes, in each way in turn, before a whole service that goes on receiving."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.promises.far_ends import dicom_destination
from tests.promises.faulty_pacs import FaultyPacs, PacsFault, data_set_of, faulty_pacs
from tests.promises.installation import Installation, free_port, installation
from tests.promises.rehearsal.plan import Study, write_plan

_SENT = ("sr", "pr", "sc")
_STUDY_EVERY_S = 10.0
_REST_S = 900.0
_QUICK = """
[delivery]
longest_delay_s = 10
circuit_longest_pause_s = 10
"""


@dataclass(frozen=True, slots=True)
class IllDay:
    """What came of it.

    Attributes
    ----------
    told_meanwhile
        By fault: studies whose results were in the folder before the fault was over.
    """

    studies: int
    took_s: float
    told_meanwhile: dict[PacsFault, int]
    failed_attempts: dict[str, int]
    objects: int
    broken: tuple[str, ...]

    def page(self) -> str:
        """The report."""
        lines = [
            f"A PACS ill in {len(self.told_meanwhile)} ways, {self.studies} studies, {self.took_s:.0f} s",
            "",
        ]
        lines += [
            f"  {fault}: {count} studies told elsewhere meanwhile"
            for fault, count in self.told_meanwhile.items()
        ]
        lines += [
            "",
            *(f"  {code}: {count} attempts" for code, count in sorted(self.failed_attempts.items())),
        ]
        lines += [f"  in the PACS afterwards: {self.objects} objects, each once", ""]
        lines += [f"  BROKEN: {promise}" for promise in self.broken] or ["  Nothing lost, nothing changed."]
        return "\n".join(lines)


def play_ill_pacs(orthanc: Path, folder: Path, ill_s: float, say: Callable[[str], None]) -> IllDay:
    """Be ill for `ill_s` seconds in all, send a study every ten, and judge when all is at rest."""
    share_s = ill_s / len(PacsFault)
    count = len(PacsFault) * max(1, int(share_s / _STUDY_EVERY_S))
    plan = list(write_plan(folder / "modality", count, seed=2, size_px=256))
    node_port = free_port()
    with faulty_pacs(orthanc, folder / "pacs", raddraft_port=node_port) as pacs:
        more = dicom_destination("pacs", "ORTHANC", pacs.port) + _QUICK
        with installation(more, node_port=node_port) as site:
            site.start()
            started_s, waiting, told = time.monotonic(), list(plan), {}
            for fault in PacsFault:
                say(f"the PACS {fault}")
                with pacs.ill(fault):
                    told[fault] = _send_for(share_s, waiting, site)
            return _judge(site, pacs, plan, told, started_s)


def _send_for(share_s: float, waiting: list[Study], site: Installation) -> int:
    """Send studies for a while; how many were in the folder, results and all, before it was over."""
    ends_s = time.monotonic() + share_s
    before = _told(site)
    while time.monotonic() < ends_s:
        if waiting:
            # One image each: a late one would make a version that overtakes the first on its way.
            site.send([waiting.pop(0).first.path])
        time.sleep(min(_STUDY_EVERY_S, max(0.0, ends_s - time.monotonic())))
    return len(_told(site) - before)


def _told(site: Installation) -> set[str]:
    return {path.parent.parent.name for path in site.results.glob("*/v*/*_sr.dcm")}


def _judge(
    site: Installation, pacs: FaultyPacs, plan: list[Study], told: dict[PacsFault, int], started_s: float
) -> IllDay:
    site.wait_until(
        lambda: len(_told(site)) == len(plan) and _confirmed(site), _REST_S, "the PACS to confirm all"
    )
    took_s = time.monotonic() - started_s
    wanted = {path.read_bytes() for kind in _SENT for path in site.results.glob(f"*/v*/*_{kind}.dcm")}
    held = pacs.objects()
    account = site.account()
    broken = [f"nobody else was told while the PACS {fault}" for fault, count in told.items() if not count]
    if sorted(held.values()) != sorted(map(data_set_of, wanted)):
        broken.append(f"the PACS holds {len(held)} objects, and not the {len(wanted)} that were built")
    if not account.balanced:
        broken.append(f"the book does not balance: {account.as_json()['problems']}")
    with site.book() as book:
        failed: dict[str, int] = {}
        for study in plan:
            detail = book.study(study.study_instance_uid)
            for attempt in (a for d in (detail.deliveries if detail else ()) for a in d.log):
                if attempt.reason_code:
                    failed[attempt.reason_code] = failed.get(attempt.reason_code, 0) + 1
    return IllDay(len(plan), took_s, told, failed, len(held), tuple(broken))


def _confirmed(site: Installation) -> bool:
    with site.book() as book:
        account = book.account()
        return site.at_rest() and account.custody["committed"] == sum(account.custody.values()) > 0


def find_orthanc() -> Path | None:
    """Where Orthanc is installed; Debian keeps it in sbin."""
    found = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    return Path(found) if found else None
