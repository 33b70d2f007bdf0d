"""A full disk, at every write: nothing is acknowledged that is not kept, nothing is left, and then all goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import chain, count
from pathlib import Path

import numpy as np
import pytest

from clinical import Transient
from dicom_node import Listener, ListenerSettings, Peer, send_objects
from imaging import DecodeLimits, display, display_facts
from inference import load_model
from service.book import queueing, study_images, walk
from service.book.leases import LeaseKeeper
from service.book.states import InstanceState, StudyState
from service.clock import now_utc
from service.displayed_shelf import DisplayedShelf
from service.house import House, celery_app, open_house
from service.intake import book_ledger
from service.io_worker import io_desks
from service.model_seat import ModelSeat, Seated
from service.queues import Hints
from service.reading_task import ReadingDesk
from service.settings import load_settings
from service.study_reading import ReadingTerms
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.promises.failing_disk import FailingDisk
from tests.promises.fuzz import wire
from tests.promises.fuzz.receiver import receiver
from tests.promises.fuzz.write_corpus import header, pixels
from tests.reporting import crafted
from tests.service.arrivals import arrive
from training.phantoms.dicom import VARIANTS, phantom_dataset


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An installation with one destination."""
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[study]\nretry_delay_s = 0\n'
        f'[[destinations]]\nname = "archive"\ntype = "folder"\npath = "{tmp_path / "archive"}"\n',
        encoding="utf-8",
    )
    house = open_house(load_settings(config))
    yield house
    house.book.engine.dispose()


def rows(house: House, table: str) -> int:
    with house.book.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.glob("??/*") if path.is_file()]


def test_an_object_is_refused_at_every_write_that_fails_and_leaves_neither_file_nor_row(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(house.settings.data_dir / "spool", monkeypatch)
    disk.watch(house.book.engine)
    listener = Listener(ListenerSettings(port=0), house.spool, book_ledger(house))
    listener.start()
    peer = Peer("RADDRAFT", "127.0.0.1", listener.port)
    content = as_file(crafted_dataset(pixels=b"\1" * 300_000))
    refused = 0
    for number in count(1):
        disk.fail_at(number)
        (result,) = send_objects([content], peer, calling_ae_title="MODALITY")
        disk.mend()
        if not disk.has_failed:
            break
        assert result.status == 0xA700
        assert files_below(house.settings.data_dir / "spool") == []
        assert [rows(house, name) for name in ("instances", "receipts", "studies", "audit_log")] == [0] * 4
        refused += 1
    listener.stop()
    assert result.status == 0x0000
    account = house.book.account(house.spool, deep=True)
    assert (account.balanced, account.acknowledged) == (True, 1)
    # File: create, two writes or more, flush, rename, folder opened and flushed. Book: study twice, instance, receipt,
    # audit entry, commit.
    assert refused >= 13


def draft_of_one_image(house: House) -> int:
    """A study received and drafted, to be told; its row."""
    header = crafted.radiograph()
    saved = crafted.written(house.settings.data_dir, "image.dcm", b"")
    crafted.saved(header).save_as(saved, enforce_file_format=True)
    arrive(
        house.book.engine,
        house.spool,
        saved.read_bytes(),
        sop_instance_uid=str(header.SOPInstanceUID),
        study_instance_uid=crafted.STUDY_UID,
    )
    (study_id,) = queueing.close_quiet_studies(house.book.engine, now_utc() + timedelta(hours=1))
    lease = walk.lease_study(
        house.book.engine, study_id, StudyState.READING, owner="test", lease_s=60, now=now_utc()
    )
    assert lease is not None
    (held,) = study_images.candidates(house.book.engine, study_id)
    verdict = study_images.InstanceVerdict(held.instance_id, InstanceState.ANALYSED)
    walk.save_draft(house.book.engine, lease, crafted.draft([header]), [verdict], now=now_utc())
    return study_id


def test_results_are_told_again_after_every_write_that_fails_and_none_is_left_without_a_row(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = draft_of_one_image(house)
    keeper = LeaseKeeper(house.book.engine, lease_s=60)
    desk, _, _ = io_desks(house, Hints(celery_app(house.settings)), keeper)
    desk = replace(desk, deliver=lambda delivery_id: None)
    disk = FailingDisk(house.settings.data_dir / "results", monkeypatch)
    disk.watch(house.book.engine)
    failures = 0
    # Each of the first file's writes, and then one in each file and of each kind.
    for number in chain(range(1, 10), range(10, 1000, 6)):
        disk.fail_at(number)
        with suppress(Transient):
            desk.tell(study_id)
        disk.mend()
        if not disk.has_failed:
            break
        failures += 1
        with house.book.engine.connect() as connection:
            kept = set(connection.exec_driver_sql("SELECT spool_key FROM artefacts").scalars())
            (state,) = connection.exec_driver_sql("SELECT state FROM studies").scalars()
        assert state == StudyState.DRAFTED
        assert set(house.results.keys()) == kept
        assert len(files_below(house.settings.data_dir / "results")) == len(kept)
        assert rows(house, "deliveries") == 0
    assert failures > 9
    (study,) = house.book.studies()
    assert study.state == StudyState.DELIVERING
    assert len(set(house.results.keys())) == rows(house, "artefacts")
    with house.book.engine.connect() as connection:
        told = connection.exec_driver_sql(
            "SELECT destination, kind, image_sop_instance_uid FROM deliveries"
        ).all()
    assert len(told) == len(set(told)) > 0


def test_a_reading_that_could_not_be_saved_is_done_again_and_is_no_failed_attempt(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset, _ = phantom_dataset(9_410_000, VARIANTS[0], 256)
    dataset.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    arrive(
        house.book.engine,
        house.spool,
        (tmp_path / "image.dcm").read_bytes(),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
    )
    (study_id,) = queueing.close_quiet_studies(house.book.engine, now_utc() + timedelta(hours=1))
    model = load_model(threads=1)
    terms = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")
    desk = ReadingDesk(
        engine=house.book.engine,
        spool=house.spool,
        seat=ModelSeat(Seated(model, terms)),
        keeper=LeaseKeeper(house.book.engine, lease_s=60),
        owner="test",
        max_attempts=3,
        retry_delay_s=0,
        tell=lambda study_id: None,
    )
    disk = FailingDisk(house.settings.data_dir / "spool", monkeypatch)
    disk.watch(house.book.engine)
    failures = 0
    for number in count(1):
        disk.fail_at(number)
        with suppress(Transient):
            desk.read(study_id)
        disk.mend()
        # What is written once the Draft is safe may fail on its own.
        if rows(house, "drafts") or not disk.has_failed:
            break
        failures += 1
        with house.book.engine.connect() as connection:
            (found,) = connection.exec_driver_sql("SELECT state, attempts FROM studies").all()
        assert tuple(found) == (StudyState.QUEUED, 0)
    model.close()
    # Lease and its commit, instance, Draft, study, audit entry and their commit.
    assert failures >= 7
    (study,) = house.book.studies()
    assert study.state == StudyState.DRAFTED and study.outcome != "failed"
    assert rows(house, "drafts") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=12m", "none", folder], check=False, capture_output=True
    )
    if not made or made.returncode != 0:
        pytest.skip("this machine lets us mount no small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(ballast: Path, free_bytes: int) -> None:
    """Let the disk have this much space left, to a page."""
    ballast.unlink(missing_ok=True)
    told = os.statvfs(ballast.parent)
    size = max(told.f_bavail * told.f_frsize - free_bytes, 0)
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, max(size, 1))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


def test_a_disk_that_is_really_full_refuses_what_does_not_fit_and_takes_it_when_there_is_room(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    with receiver(small_disk) as far:
        refused = stored = 0
        for number, free_bytes in enumerate(chain(range(0, 160_000, 8192), range(160_000, 400_000, 40_000))):
            uid = f"2.25.6{number}"
            sent = [wire.request(), wire.store(header(uid) + pixels(bytes(100_000)), uid), wire.RELEASE]
            before = far.receipts()
            fill(ballast, free_bytes)
            heard = wire.say(far.port, sent)
            ballast.unlink()
            assert len(heard.store_statuses) == 1
            assert heard.store_statuses[0] in (0x0000, 0xA700)
            assert far.receipts() == before + heard.successes
            assert far.unfinished() == []
            assert set(far.spool.keys()) == far.rows()
            refused += not heard.successes
            stored += heard.successes
            # There is room again.
            assert wire.say(far.port, sent).store_statuses == [0x0000]
        assert refused > 5 and stored > 3
        account = far.account()
        assert account.balanced, account.problems


def test_a_decoded_image_there_is_no_room_for_is_not_kept_and_leaves_nothing(small_disk: Path) -> None:
    shelf = DisplayedShelf(small_disk / "displayed", 64 << 20)
    header = crafted.radiograph()
    displayed = display(header.pixel_array, display_facts(header))
    shelf.put("a" * 64, displayed)
    assert shelf.find("a" * 64) is not None
    shelf.drop(["a" * 64])
    large = replace(displayed, pixels=np.zeros((4096, 4096), np.uint8))
    shelf.put("b" * 64, large)
    assert shelf.find("b" * 64) is None
    assert list((small_disk / "displayed").iterdir()) == []
