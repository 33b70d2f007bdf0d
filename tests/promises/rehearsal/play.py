"""The play itself: modalities send, faults strike, late images follow, until everything is at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread

from service.cli.demo.ehr import DemoEhr
from tests.promises.far_ends import dicom_destination
from tests.promises.installation import Installation, free_port, installation
from tests.promises.rehearsal.faults import Fault, FaultyPacs
from tests.promises.rehearsal.modality import Modality, ModalityLog
from tests.promises.rehearsal.plan import Image, Study
from tests.promises.rehearsal.verdict import Verdict, judge
from training.phantoms.dicom import ISSUER

_MODALITIES = 3
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Sending:
    """Something a modality has to send."""

    images: tuple[Image, ...]
    is_stat: bool


class Play:
    """One rehearsal on a fresh installation.

    Parameters
    ----------
    timeout_s
        Longest time from the first image to rest.
    """

    def __init__(
        self,
        studies: Sequence[Study],
        faults: Sequence[Fault],
        *,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._studies = studies
        self._faults = faults
        self._timeout_s = timeout_s
        self._say = say
        self._log = ModalityLog()
        self._queue: Queue[Sending] = Queue()
        self._stop = Event()
        self._struck: list[str] = []

    def run(self, folder: Path) -> Verdict:
        """Play, and judge what came of it."""
        pacs, ehr = FaultyPacs(folder / "pacs"), DemoEhr()
        pacs.start()
        ehr.start(free_port())
        try:
            # Without the folder of every face: the hospital has a PACS and an EHR, and those are what is judged.
            with installation(_destinations(pacs, ehr), has_archive=False) as site:
                site.start()
                started_s = time.monotonic()
                self._play(site, pacs)
                took_s = time.monotonic() - started_s
                return judge(site, pacs, ehr, self._studies, self._log, tuple(self._struck), took_s)
        finally:
            ehr.stop()
            pacs.stop()

    def _play(self, site: Installation, pacs: FaultyPacs) -> None:
        for study in self._studies:
            doubled = (study.first, study.first) if study.is_doubled else (study.first,)
            self._queue.put(Sending(doubled, study.is_stat))
        modality = Modality(self._log, site.node_port, "RADDRAFT")
        threads = [Thread(target=self._send, args=(modality,), daemon=True) for _ in range(_MODALITIES)]
        threads.append(Thread(target=self._follow_up, args=(pacs,), daemon=True))
        for thread in threads:
            thread.start()
        try:
            self._strike(site, pacs)
            site.wait_until(lambda: self._is_over(site), self._timeout_s, "the hospital to be at rest")
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(90)

    def _send(self, modality: Modality) -> None:
        while not self._stop.is_set():
            try:
                sending = self._queue.get(timeout=_LOOK_EVERY_S)
            except Empty:
                continue
            modality.send(sending.images, is_stat=sending.is_stat, stop=self._stop)
            self._queue.task_done()

    def _follow_up(self, pacs: FaultyPacs) -> None:
        """Late images and whole studies once more, each when the study's first result is in the PACS."""
        waiting = [study for study in self._studies if study.late or study.comes_again]
        while waiting and not self._stop.wait(_LOOK_EVERY_S):
            for study in list(waiting):
                if pacs.of_study(study.study_instance_uid):
                    waiting.remove(study)
                    images = study.images if study.comes_again else study.images[1:]
                    self._queue.put(Sending(images, study.is_stat))

    def _strike(self, site: Installation, pacs: FaultyPacs) -> None:
        deadline = time.monotonic() + self._timeout_s
        for fault in self._faults:
            wanted = fault.share * len(self._studies)
            while len(self._log.last_of_study()) < wanted:
                if time.monotonic() > deadline:
                    raise AssertionError(f"too few studies were acknowledged for: {fault.what}")
                time.sleep(_LOOK_EVERY_S)
            self._say(f"{len(self._log.last_of_study())} studies acknowledged: {fault.what}")
            fault.strike(site, pacs)
            self._struck.append(fault.what)

    def _is_over(self, site: Installation) -> bool:
        """Whether every planned image is acknowledged, nothing waits to be sent, and nothing is on its way."""
        planned = {image.sop_instance_uid for study in self._studies for image in study.images}
        acknowledged = {entry.image.sop_instance_uid for entry in list(self._log.acknowledged)}
        return not self._queue.unfinished_tasks and planned <= acknowledged and site.at_rest()


def _destinations(pacs: FaultyPacs, ehr: DemoEhr) -> str:
    return f"""
[delivery]
longest_delay_s = 10
{dicom_destination("pacs", "DEMOPACS", pacs.port)}
[[destinations]]
name = "ehr"
type = "fhir"
base_url = "{ehr.base_url}"
matching = "identifier"
default_patient_system = "urn:test"
issuers = {{ "{ISSUER}" = "urn:test" }}
"""
