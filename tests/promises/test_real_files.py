"""Real radiographs, other objects and broken files, all sent to one running service."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom import dcmread

from clinical import Permanent
from imaging import DecodeLimits, read_header
from inference import load_model
from service.book import InstanceState
from service.study_reading import ImageFile, ReadingTerms, read_study
from service.supervisor import role_command
from tests.dicom_node.raw_scu import associated, store_raw
from tests.promises.installation import Installation, Peer, installation
from training.phantoms.dicom import VARIANTS, write_phantom

_DX = "1.2.840.10008.5.1.4.1.1.1.1"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _send_whatever_it_is(site: Installation, path: Path) -> bool:
    """As our sender reads it; what that cannot read goes out raw, as a data set it is not. Whether acknowledged."""
    with suppress(Permanent):
        (result,) = site.send([path])
        return result.status == 0x0000
    peer = Peer("RADDRAFT", "127.0.0.1", site.node_port)
    with associated(peer, [(_DX, ["1.2.840.10008.1.2.1"])]) as association:
        return store_raw(association, path.read_bytes(), sop_class_uid=_DX, sop_instance_uid="1.2.3.4") == 0


@pytest.mark.slow
def test_strange_and_broken_files_end_named_and_a_good_study_still_comes_back(
    real_files: Path, tmp_path: Path
) -> None:
    strange = _files(real_files / "not_cxr") + _files(real_files / "fuzz")
    assert len(strange) > 40
    with installation() as site:
        site.start()
        before = site.process_ids()
        acknowledged = sum(_send_whatever_it_is(site, path) for path in strange)
        write_phantom(tmp_path / "good.dcm", 9_400_000, VARIANTS[0], size_px=512)
        assert _send_whatever_it_is(site, tmp_path / "good.dcm")
        site.wait_until(site.at_rest, 240, "every object to end")
        account = site.account()
        assert account.balanced, account.as_json()
        assert account.acknowledged == acknowledged + 1
        assert account.states["analysed"] == 1, "the good study, and none of the strange ones"
        with site.book() as book:
            good = book.study(str(dcmread(tmp_path / "good.dcm", stop_before_pixels=True).StudyInstanceUID))
            assert good is not None and good.summary.state == "done"
            ended = [
                i
                for s in book.studies(limit=1000)
                for i in book.study(s.study_instance_uid).instances  # type: ignore[union-attr]
            ]
        # Each of the others says in words why it was not read.
        assert all(instance.reason for instance in ended if instance.state != "analysed")
        assert site.process_ids() == before, "no role ended"


@pytest.mark.slow
def test_every_chest_radiograph_sent_is_analysed(real_files: Path) -> None:
    """Files that share a SOP Instance UID are the same object again: the first one stands (analysed), by rule."""
    first: dict[str, Path] = {}
    for path in _files(real_files / "cxr"):
        with suppress(Exception):
            first.setdefault(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID), path)
    assert len(first) >= 3
    with installation() as site:
        site.start()
        assert all(_send_whatever_it_is(site, path) for path in first.values())
        site.wait_until(site.at_rest, 240, "every study to end")
        assert site.account().states["analysed"] == len(first)


def test_every_chest_radiograph_is_analysed_alone(real_files: Path) -> None:
    model = load_model()
    terms = ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test")
    for path in _files(real_files / "cxr"):
        header = read_header(path)
        file = ImageFile(str(header.SOPInstanceUID), path)
        read = read_study(str(header.StudyInstanceUID), 1, [file], model, terms)
        assert [image.state for image in read.images] == [InstanceState.ANALYSED], path.name
        assert "NOT FOR CLINICAL USE" in read.draft.model.statement
    model.close()


def test_a_radiograph_without_preamble_is_analysed_by_the_command_line(
    real_files: Path, tmp_path: Path
) -> None:
    (path,) = (p for p in _files(real_files / "cxr") if p.read_bytes()[128:132] != b"DICM")
    done = subprocess.run(
        role_command("analyze", str(path), "--out", str(tmp_path / "out"), "--json"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"others": []' in done.stdout
    assert len(list(tmp_path.glob("out/*/01_sr.dcm"))) == 1
