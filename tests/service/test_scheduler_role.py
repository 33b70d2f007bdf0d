"""The scheduler's process has everything at work that it is there for."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from service.house import open_house
from service.roles.scheduler import started_tellers
from service.settings import Settings


def test_every_teller_is_at_work_until_it_is_told_to_stop(tmp_path: Path) -> None:
    house = open_house(Settings(data_dir=tmp_path / "data"))
    stop = Event()
    tellers = started_tellers(house, stop)
    try:
        assert "drift" in {teller.name for teller in tellers}
        assert all(teller.is_alive() for teller in tellers)
    finally:
        stop.set()
        for teller in tellers:
            teller.join(30)
    assert not any(teller.is_alive() for teller in tellers)
