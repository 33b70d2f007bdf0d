"""No name, number, UID or text of a patient in any log, metric, message, command line or stored error.

A full run, strange and broken files, receivers that answer with the patient's own data, and workers that are killed.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from clinical import Permanent
from hl7_fhir.v2.mllp import FrameReader, framed
from service.book.audit import audit_entries
from service.book.database import reading
from service.book.tables import DeliveryRow, InstanceRow, StudyRow
from tests.dicom_node.raw_scu import associated, store_raw
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server
from tests.promises.installation import Installation, Peer, free_port, installation
from tests.promises.patient_words import command_lines, leaks, tapped_broker, words_of
from tests.service.hospital import Sender, a40, oru
from training.phantoms.dicom import ISSUER, VARIANTS, write_phantom

_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_CT = "1.2.840.10008.5.1.4.1.1.2"


def _named(path: Path, number: int) -> Dataset:
    """A phantom of a patient nobody else could be meant by."""
    write_phantom(path, 9_500_000 + number, VARIANTS[number % len(VARIANTS)], size_px=512)
    image = dcmread(path)
    image.PatientName = f"Quetzalcoatl{number}^Xiomara{number}"
    image.PatientID = f"PHIDENT{number:05d}"
    image.PatientBirthDate = f"19610{4 + number % 5}17"
    image.AccessionNumber = f"ACCPHI{number:06d}"
    image.RequestAttributesSequence = [Dataset()]
    image.save_as(path, enforce_file_format=True)
    return image


def _strange(folder: Path) -> list[Path]:
    """Named images that are no chest radiographs, or are broken in ways a library complains of."""
    changes: list[Callable[[Dataset], None]] = [
        lambda d: setattr(d, "BodyPartExamined", "KNEE"),
        lambda d: setattr(d, "Modality", "MG"),
        lambda d: setattr(d, "PixelData", d.PixelData[:999]),
        lambda d: setattr(d, "Rows", 65535),
        lambda d: setattr(d, "BitsAllocated", 7),
        lambda d: setattr(d, "PhotometricInterpretation", "NONSENSE"),
        lambda d: delattr(d, "StudyDate"),
        lambda d: setattr(d, "SpecificCharacterSet", "ISO_IR 999"),
    ]
    files = []
    for number, change in enumerate(changes, start=50):
        path = folder / f"strange_{number}.dcm"
        image = _named(path, number)
        change(image)
        image.save_as(path)
        files.append(path)
    image = _named(folder / "ct.dcm", 70)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = _CT
    image.save_as(folder / "ct.dcm")
    # The same SOP Instance UID with other pixels is held apart, and compared pixel by pixel.
    twin = _named(folder / "first.dcm", 71)
    twin.PixelData = bytes(len(twin.PixelData))
    twin.SeriesInstanceUID = generate_uid()
    twin.save_as(folder / "twin.dcm")
    return [*files, folder / "ct.dcm", folder / "first.dcm", folder / "twin.dcm"]


def _send_whatever_it_is(site: Installation, path: Path) -> None:
    with suppress(Permanent):
        site.send([path])
        return
    with associated(Peer("RADDRAFT", "127.0.0.1", site.node_port), [(_DX, ["1.2.840.10008.1.2.1"])]) as to:
        store_raw(to, path.read_bytes(), sop_class_uid=_DX, sop_instance_uid="1.2.3.4")


def _echoing_ehr(asked: Asked) -> Answer:
    """Knows whom it is asked for, and refuses every report in its own words and ours."""
    if asked.method == "GET" and "Patient" in asked.path:
        system, _, value = httpx.URL(asked.path).params.get("identifier", "|").partition("|")
        known = {"resourceType": "Patient", "id": "1", "identifier": [{"system": system, "value": value}]}
        return 200, {"resourceType": "Bundle", "entry": [{"resource": known}]}
    if asked.method == "GET":
        return 200, {"resourceType": "Bundle", "entry": []}
    text = asked.body.decode("utf-8", errors="replace")
    return 422, {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": text}]}


@contextmanager
def _echoing_receiver() -> Iterator[int]:
    """An HL7 receiver that rejects each message by quoting it in MSA-3; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        reader = FrameReader(1 << 24)
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                for message in reader.feed(data):
                    quoted = message.replace(b"\r", b" ").replace(b"|", b" ")
                    refusal = b"MSA|AR|" + message.split(b"|")[9] + b"|" + quoted
                    head = b"MSH|^~\\&|B||A||20260102||ACK|1|P|2.5.1"
                    connection.sendall(framed(b"\r".join([head, refusal, b""])))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def _hospital_says(port: int) -> set[str]:
    """Reports and merges, good, wrong and broken, of patients nobody else could be meant by; the words in them."""
    authority = "PHANTOM"
    sentence = "Xochipilli opacity in the retrocardiac space"
    merge = a40(f"PHIDENT00001^^^{authority}", f"PHISURVIVOR1^^^{authority}")
    signed = oru(
        accession="ACCPHI000000", patient=f"PHIDENT00000^^^{authority}", text=(sentence,), control_id="M2"
    )
    early = oru(
        accession="ACCPHI999999", patient=f"PHIDENT99999^^^{authority}", text=(sentence,), control_id="M3"
    )
    others = oru(accession="ACCPHI000002", patient=f"PHIDENT88888^^^{authority}", control_id="M4")
    odd = (
        oru(kind="SIU^S12", control_id="M5"),
        oru(patient="PHIDENT\\X00\\77777^^^A", control_id="M6"),
        b"PHIDENT66666 is no HL7",
        b"MSH|^~\\&|PHIDENT55555",
    )
    with Sender(port, timeout_s=60) as sender:
        for message in (merge, signed, early, others, *odd):
            sender.send(message)
            assert len(sender.answers(1)) == 1
    with Sender(port) as half:
        half.send_raw(b"\x0bMSH|^~\\&|PHIDENT44444")
    found = set(
        re.findall(r"PHI[A-Z]+[0-9]+|ACCPHI[0-9]+", b"".join((merge, signed, early, others, *odd)).decode())
    )
    return {*found, sentence, "PHIDENT44444", "Smith^John"}


def _stored_words(site: Installation) -> str:
    """What the program wrote of errors and deeds: reasons, statuses, the audit log."""
    with site.book() as book, reading(book.engine) as session:
        rows: list[Any] = []
        for table, columns in (
            (StudyRow, ("state", "reason_code", "reason")),
            (InstanceRow, ("state", "reason_code", "reason")),
            (DeliveryRow, ("state", "last_status", "reason_code", "reason")),
        ):
            rows += [[getattr(row, name) for name in columns] for row in session.scalars(select(table))]
        rows += [str(entry) for entry in audit_entries(book.engine, limit=100_000)]
    return json.dumps(rows)


def _sentences(site: Installation) -> set[str]:
    """Every sentence of every draft."""
    with site.book() as book:
        drafts = [book.study(s.study_instance_uid) for s in book.studies(limit=1000)]
    return {
        sentence.text
        for detail in drafts
        if detail is not None and detail.draft is not None
        for read in detail.draft.readings
        for sentence in read.sentences
        if len(sentence.text) > 12
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_names_a_patient_leaves_by_a_log_metric_message_or_error(
    program: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    good = [tmp_path / f"good_{number}.dcm" for number in range(3)]
    for number, path in enumerate(good):
        _named(path, number)
    files = good + _strange(tmp_path)
    with suppress(pytest.skip.Exception):
        real: Path = request.getfixturevalue("real_files")
        files += sorted(p for name in ("not_cxr", "fuzz") for p in (real / name).iterdir() if p.is_file())
    words = set().union(*(words_of(path) for path in files))
    assert {"Quetzalcoatl0", "Xiomara0", "PHIDENT00000", "ACCPHI000000", "19610417"} <= words

    with (
        tapped_broker(program("redis-server"), tmp_path) as broker,
        scripted_server(_echoing_ehr) as ehr,
        _echoing_receiver() as port,
    ):
        hl7_port = free_port()
        more = (
            f'[broker]\nurl = "{broker.url}"\n'
            f'[[destinations]]\nname = "ehr"\ntype = "fhir"\nbase_url = "{ehr.base_url}"\n'
            f'issuers = {{ "{ISSUER}" = "urn:ehr" }}\naccession_system = "urn:acc"\n'
            f'[[destinations]]\nname = "ris"\ntype = "hl7v2"\nhost = "127.0.0.1"\nport = {port}\n'
            f'issuers = {{ "{ISSUER}" = "PHANTOM" }}\n'
            '[[destinations]]\nname = "pacs"\ntype = "dicom"\nae_title = "PACS"\n'
            'host = "127.0.0.1"\nport = 1\n[delivery]\nfirst_delay_s = 0.2\nlongest_delay_s = 1\n'
            "give_up_after_h = 0.001\ncircuit_first_pause_s = 0.2\ncircuit_longest_pause_s = 1\n"
            f'[hl7_listener]\nport = {hl7_port}\nissuers = {{ "{ISSUER}" = "PHANTOM" }}\n'
        )
        with installation(more) as site:
            site.start()
            for path in files[: len(files) // 2]:
                _send_whatever_it_is(site, path)
            site.kill_role("worker", "gpu")
            site.kill_role("worker", "io")
            for path in files[len(files) // 2 :]:
                _send_whatever_it_is(site, path)
            site.wait_until(site.at_rest, 480, "every object to end")
            with site.book() as book:
                states = book.counts()["deliveries"]
            words |= _hospital_says(hl7_port)
            site.wait_until(site.at_rest, 120, "what a merge makes anew to end")
            assert site.process is not None
            base = f"http://127.0.0.1:{site.http_port}"
            places = {
                "log": (site.folder / "service.log").read_text(errors="replace"),
                "metrics": httpx.get(f"{base}/metrics", timeout=20).text,
                "readiness": httpx.get(f"{base}/health/ready", timeout=20).text,
                "broker": broker.text,
                "command lines": command_lines(site.process.pid),
                "stored errors and audit log": _stored_words(site),
            }
            words |= _sentences(site)
            # The audit events' file names patients, as its standard asks: words are found where they are.
            events = (site.folder / "data" / "audit" / "audit_events.ndjson").read_text()
        # The run was one in which there was something to leak, and the receivers did echo it.
        assert "PHIDENT00000" in leaks(words, {"events": events}).get("events", [])
        assert states["refused"] >= 4 and states["delivered"] >= 3 and states["gave_up"] >= 3, states
        assert "raddraft.read_study" in places["broker"] and "raddraft.deliver" in places["broker"]
        assert "delivery_not_done" in places["log"] and "role_ended" in places["log"]
        assert "raddraft_studies" in places["metrics"]
        for outcome in ("merged", "closed", "no-such-study", "patient-mismatch", "not-hl7"):
            assert f'raddraft_hl7_messages_total{{outcome="{outcome}"}}' in places["metrics"]
        assert "hl7_message_taken" in places["log"] and "hl7_message_refused" in places["log"]
        assert leaks(words, places) == {}


def test_a_word_is_found_where_it_stands_and_inside_base64(tmp_path: Path) -> None:
    _named(tmp_path / "image.dcm", 3)
    words = words_of(tmp_path / "image.dcm")
    assert leaks(words, {"log": "a line"}) == {}
    assert leaks(words, {"log": "of PHIDENT00003!"}) == {"log": ["PHIDENT00003"]}
    assert leaks(words, {"broker": '{"body": "W1siUEhJREVOVDAwMDAzIl0sIHt9XQ=="}'}) == {
        "broker": ["PHIDENT00003"]
    }
