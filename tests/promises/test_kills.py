"""What was acknowledged is accounted for and delivered once, whatever is killed meanwhile."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dicom_node import Listener, ListenerSettings, Peer, PosixSpool, send_objects
from service.book import migrate, open_book
from service.book.receipts import QuietRule
from service.intake import BookLedger
from service.supervisor import role_command
from tests.postgres import PostgresServer
from tests.promises.installation import Installation, installation
from tests.promises.once import assert_all_delivered_once
from training.phantoms.dicom import VARIANTS, write_phantom

STUDIES = 8


def _phantoms(folder: Path, first: int, count: int) -> list[Path]:
    """Files of studies that no other test here sends."""
    files = [folder / f"{number}.dcm" for number in range(first, first + count)]
    for number, path in enumerate(files, start=first):
        write_phantom(path, 9_000_000 + number, VARIANTS[number % len(VARIANTS)], size_px=512)
    return files


@pytest.fixture(scope="module")
def site() -> Iterator[Installation]:
    """A running service; each test sends it studies of its own, and finds those of others delivered."""
    with installation() as running:
        running.start()
        yield running


def _known(site: Installation) -> int:
    return sum(site.states("studies").values())


@pytest.mark.slow(40)
def test_acknowledged_studies_survive_the_death_of_every_role(site: Installation, tmp_path: Path) -> None:
    phantoms, before = _phantoms(tmp_path, 0, STUDIES), _known(site)
    first = site.send(phantoms[: STUDIES // 2])
    site.kill_role("worker", "gpu")
    site.kill_role("redis-server")
    second = site.send(phantoms[STUDIES // 2 :])
    site.kill_role("worker", "io")
    site.kill_role("scheduler")
    assert [result.outcome for result in first + second] == ["stored"] * STUDIES
    assert_all_delivered_once(site, before + STUDIES)


@pytest.mark.slow(30)
@pytest.mark.interop
def test_acknowledged_studies_survive_the_death_of_postgresql(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    phantoms = _phantoms(tmp_path, 20, 4)
    with installation(database_url=postgres.new_database_url()) as site:
        site.start()
        first = site.send(phantoms[:3])
        site.wait_until(lambda: site.states("studies")["receiving"] < 3, 60, "the first reading")
        postgres.kill()
        (refused,) = site.send(phantoms[3:4])
        postgres.start_again()
        assert refused.status == 0xA700, "without the book nothing is acknowledged"
        site.wait_until(lambda: site.send(phantoms[3:4])[0].outcome == "stored", 60, "the book to be back")
        assert [result.outcome for result in first] == ["stored"] * 3
        assert_all_delivered_once(site, 4)


def test_a_broker_that_is_flushed_empty_in_the_middle_costs_no_study(
    site: Installation, tmp_path: Path
) -> None:
    phantoms, before = _phantoms(tmp_path, 8, 4), _known(site)
    broker = redis.Redis(unix_socket_path=str(site.folder / "data" / "broker" / "redis.sock"))
    first = site.send(phantoms[:2])
    site.wait_until(lambda: site.states("studies")["receiving"] < 2, 60, "the first reading")
    broker.flushall()
    second = site.send(phantoms[2:4])
    site.wait_until(lambda: site.states("studies")["receiving"] == 0, 60, "the last study to be queued")
    broker.flushall()
    broker.close()
    assert [result.outcome for result in first + second] == ["stored"] * 4
    assert_all_delivered_once(site, before + 4)


@pytest.mark.slow
def test_a_killed_supervisor_takes_all_down_and_the_next_one_goes_on(
    site: Installation, tmp_path: Path
) -> None:
    phantoms, before, acknowledged = _phantoms(tmp_path, 12, 2), _known(site), site.account().acknowledged
    results = site.send(phantoms)
    assert [result.outcome for result in results] == ["stored", "stored"]
    site.kill_supervisor()
    site.start()
    again = site.send(phantoms)
    assert [result.outcome for result in again] == ["stored", "stored"]
    assert_all_delivered_once(site, before + 2)
    assert site.account().acknowledged == acknowledged + 4


def test_a_second_serve_in_the_same_folder_is_refused_in_one_line(site: Installation) -> None:
    second = subprocess.run(
        role_command("serve"),
        env={**os.environ, "RADDRAFT_CONFIG": str(site.config)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == 1
    assert "data-dir-in-use" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize("loss", ["receipts", "instances", "file"])
def test_the_account_exits_1_when_something_is_removed(tmp_path: Path, loss: str) -> None:
    (phantom,) = _phantoms(tmp_path, 30, 1)
    url = f"sqlite:///{tmp_path / 'raddraft.sqlite'}"
    migrate(url)
    book = open_book(url)
    spool = PosixSpool(tmp_path / "spool")
    listener = Listener(ListenerSettings(port=0), spool, BookLedger(book.engine, QuietRule(30, 900)))
    listener.start()
    send_objects([phantom], Peer("RADDRAFT", "127.0.0.1", listener.port), calling_ae_title="MODALITY")
    listener.stop()
    book.engine.dispose()
    environment = {**os.environ, "RADDRAFT_DATA_DIR": str(tmp_path)}
    command = role_command("account", "--json")
    assert (
        subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode
        == 0
    )
    if loss == "file":
        spool.delete(next(spool.keys()))
    else:
        with sqlite3.connect(tmp_path / "raddraft.sqlite") as raw:
            raw.execute(f"DELETE FROM {loss}")
    assert (
        subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode
        == 1
    )
