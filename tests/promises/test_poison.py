"""One study that hangs the engine, and one that cannot be decoded, harm nobody but themselves."""

from __future__ import annotations

import os
from pathlib import Path

from pydicom import dcmread

from tests.promises.installation import installation
from training.phantoms.dicom import VARIANTS, write_phantom

GOOD = 20
# Rows of the image the trap in hanging_engine/sitecustomize.py waits for.
POISON_ROWS = 520
_HERE = Path(__file__).parent


def test_good_studies_in_flight_come_back_beside_a_hanging_and_a_broken_one(tmp_path: Path) -> None:
    files = []
    for number in range(GOOD + 1):
        path = tmp_path / f"{number}.dcm"
        size_px = POISON_ROWS if number == 3 else 512
        write_phantom(path, 9_200_000 + number, VARIANTS[number % len(VARIANTS)], size_px=size_px)
        files.append(path)
    broken = dcmread(files[0])
    broken.StudyInstanceUID, broken.SOPInstanceUID = (
        "1.2.826.0.1.3680043.8.498.77",
        "1.2.826.0.1.3680043.8.498.78",
    )
    broken.file_meta.MediaStorageSOPInstanceUID = broken.SOPInstanceUID
    broken.PixelData = broken.PixelData[:1000]
    broken.save_as(tmp_path / "broken.dcm")
    files.insert(5, tmp_path / "broken.dcm")
    with installation("[model]\nengine_stall_s = 5\n") as site:
        found = os.environ.get("PYTHONPATH", "")
        site.environment = {
            "PYTHONPATH": os.pathsep.join(part for part in (str(_HERE / "hanging_engine"), found) if part)
        }
        site.start()
        assert {result.outcome for result in site.send(files)} == {"stored"}
        site.wait_until(lambda: site.all_done(len(files)), 280, "every study to end")
        account = site.account()
        assert account.balanced, account.as_json()
        assert account.states["analysed"] == GOOD
        assert account.states["failed"] == 1
        assert account.states["quarantined"] == 1
        with site.book() as book:
            (failed,) = book.studies(state="failed")
        assert failed.outcome == "failed"
        # Both are told: "failed" and "not assessed because ..." are results too.
        assert account.deliveries["delivered"] == sum(account.deliveries.values())
        assert len(list(site.results.glob("*/v1/01_sr.dcm"))) == len(files)
