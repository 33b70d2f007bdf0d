"""A hundred studies on their way while every role is killed: nothing lost, nothing twice, nothing changed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import httpx
import pytest
from pydicom import dcmread
from sqlalchemy import select

from dicom_node import PosixSpool
from service.book.database import reading
from service.book.tables import ArtefactRow
from tests.promises.far_ends import (
    LosesResponses,
    ModalityLog,
    dicom_destination,
    orthanc,
    store_that_keeps_every_copy,
)
from tests.promises.installation import Installation, free_port, installation
from training.phantoms.dicom import VARIANTS, write_phantom

STUDIES = 100
FACES = ("SR", "PR", "OT")
SENT = ("sr", "pr", "sc")
LOSSES = 3


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    files = [folder / f"{number}.dcm" for number in range(STUDIES)]
    for number, path in enumerate(files):
        # None of these is among the few phantoms in a thousand that the gate takes for no chest.
        write_phantom(path, 9_300_100 + number, VARIANTS[number % len(VARIANTS)], size_px=384)
    return files


def kill_every_role(site: Installation) -> None:
    """Each at a moment when it has work: the gpu worker in the middle of a reading, the io worker while it delivers."""
    site.wait_until(lambda: site.states("studies")["receiving"] > 0, 60, "the first study")
    site.kill_role("node")
    site.wait_until(lambda: site.states("studies")["reading"] > 0, 120, "a reading under way")
    site.kill_role("worker", "gpu")
    site.kill_role("redis-server")
    site.kill_role("node")
    site.wait_until(lambda: site.states("deliveries")["sending"] > 0, 120, "a delivery under way")
    site.kill_role("worker", "io")
    site.kill_role("scheduler")
    # Readings may all be over by now: they are faster than the deliveries.
    site.wait_until(
        lambda: site.states("studies")["reading"] + site.states("deliveries")["sending"] > 0,
        120,
        "a reading or a delivery under way",
    )
    site.kill_supervisor()
    site.start()
    site.kill_role("node")


def assert_whole(site: Installation, log: ModalityLog) -> None:
    site.wait_until(lambda: site.all_done(STUDIES), 700, "every study to be done")
    account = site.account()
    assert account.balanced, account.as_json()
    # A response lost on its way was given all the same, so our count may be the higher one.
    assert account.acknowledged >= len(log.acknowledged) >= STUDIES
    assert account.states["analysed"] == STUDIES
    assert account.deliveries["delivered"] == sum(account.deliveries.values())


@pytest.mark.slow(200)
@pytest.mark.interop
@pytest.mark.timeout(1300)
def test_a_hundred_acknowledged_studies_survive_the_death_of_every_role_and_reach_the_pacs_once(
    program: Callable[[str], Path], phantoms: list[Path], tmp_path: Path
) -> None:
    pacs_port = free_port()
    copies = tmp_path / "copies"
    with (
        orthanc(program("Orthanc"), tmp_path, dicom_port=pacs_port) as pacs,
        store_that_keeps_every_copy(program("storescp"), copies) as keeper_port,
    ):
        network = LosesResponses(keeper_port, LOSSES)
        more = dicom_destination("pacs", "ORTHANC", pacs_port) + dicom_destination(
            "keeper", "KEEPER", network.port
        )
        # Without the folder of every face: the two PACS are what is looked at.
        with installation(more, has_archive=False) as site:
            site.start()
            log = ModalityLog(program("storescu"), site.node_port)
            sending = Thread(target=lambda: [log.send(phantoms[n::5]) for n in range(5)])
            sending.start()
            kill_every_role(site)
            sending.join(200)
            assert not sending.is_alive()
            assert_whole(site, log)
            assert_the_pacs_holds_one_of_each(pacs)
            assert_every_copy_has_the_same_bytes(copies, site)
        network.close()
        assert network.left == 0


def assert_the_pacs_holds_one_of_each(pacs: httpx.Client) -> None:
    by_study: dict[str, Counter[str]] = defaultdict(Counter)
    for series in pacs.get("/series?expand").json():
        by_study[series["ParentStudy"]][series["MainDicomTags"]["Modality"]] += len(series["Instances"])
    assert len(by_study) == STUDIES
    assert all(modalities == dict.fromkeys(FACES, 1) for modalities in by_study.values())


def assert_every_copy_has_the_same_bytes(copies: Path, site: Installation) -> None:
    """Objects sent again because their response was lost: same SOP Instance UID, same bytes as were stored at first."""
    received: dict[str, list[str]] = defaultdict(list)
    for path in copies.iterdir():
        received[_uid(path)].append(_dataset_sha256(path.read_bytes()))
    results = PosixSpool(site.folder / "data" / "results")
    with site.book() as book, reading(book.engine) as session:
        stored = {
            row.sop_instance_uid: _dataset_sha256(results.path(row.spool_key).read_bytes())
            for row in session.scalars(select(ArtefactRow).where(ArtefactRow.kind.in_(SENT)))
        }
    assert len(stored) == STUDIES * len(FACES)
    assert set(received) == set(stored)
    assert sum(len(digests) for digests in received.values()) >= len(stored) + LOSSES
    assert all(set(digests) == {stored[uid]} for uid, digests in received.items())


def _uid(path: Path) -> str:
    return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _dataset_sha256(content: bytes) -> str:
    """Digest of the data set behind the file meta information, which the receiver writes anew (PS3.10, 7.1)."""
    length = int.from_bytes(content[140:144], "little")
    return hashlib.sha256(content[144 + length :]).hexdigest()
