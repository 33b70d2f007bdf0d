"""node-hl7-server takes our ORU^R01 messages, over MLLP and over TLS, and hl7apy finds them whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message as foreign_parse
from pydicom import dcmread

from clinical import DraftOutcome, Permanent, Transient
from hl7_fhir import WAITING_CODES
from hl7_fhir.v2 import MllpClient, OruProfile, build_oru, check_answer, custom_fields, parse_message
from hl7_fhir.v2.charset import unescape
from service.book.reconciling import reconcile_queue
from service.book.states import DeliveryState
from service.settings import ClientTlsSection
from service.tls import client_tls
from tests.authorities import site_authority
from tests.conformance.ehr import shortened
from tests.hl7_fhir.drafts import HEADER, draft
from tests.interop.fhir_engine.engine import Store
from tests.interop.hl7_peer.peer import Hl7Peer, hl7_peer, sent_by_client
from tests.interop.test_fhir_signed_reports import order, patient, report
from tests.promises.installation import Installation, free_port, installation
from tests.service.hospital import a40, orm
from tests.service.hospital import oru as oru_of_hospital
from training.phantoms.dicom import ISSUER, VARIANTS, write_phantom

pytestmark = pytest.mark.interop


SITE_FIELDS = {"OBR-20": "{outcome}", "ZRD-1": "{impression}", "ZRD-2.2": "Größe | {model_name}"}


def oru(version: str = "2.5.1") -> bytes:
    fields = custom_fields(SITE_FIELDS)
    profile = OruProfile(version=version, default_authority="HOSP&1.2.3&ISO", fields=fields)
    return build_oru(draft(), HEADER, profile, receiver="ehr", report_text="Größe | unverändert\nend")


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1"])
def test_the_peer_reads_what_we_wrote(hl7_node: Path, version: str) -> None:
    message = oru(version)
    with hl7_peer(hl7_node) as peer:
        client = MllpClient("127.0.0.1", peer.port, timeout_s=20)
        assert check_answer(client.exchange(message), parse_message(message).control_id) == "AA"
        (seen,) = peer.wait_for(1)
        client.close()
    assert seen["type"] == "ORU" and seen["version"] == version
    assert seen["patient"] == "P1" and seen["orderStatus"] == "P" and seen["accession"] == "A1"
    assert "Größe" in seen["raw"]
    impression, size = seen["siteFields"]
    assert impression.startswith("AI DRAFT, UNSIGNED: ")
    # It leaves escapes to whoever asks it.
    assert unescape(size) == "Größe | m"


@pytest.mark.parametrize(("code", "failure"), [("AE", Transient), ("AR", Permanent)])
def test_the_peers_refusals_have_their_meaning(hl7_node: Path, code: str, failure: type[Exception]) -> None:
    with hl7_peer(hl7_node, code) as peer:
        client = MllpClient("127.0.0.1", peer.port, timeout_s=20)
        with pytest.raises(failure):
            check_answer(client.exchange(oru()), parse_message(oru()).control_id)
        client.close()


def test_tls_needs_the_sites_authority_and_our_certificate(hl7_node: Path, tmp_path: Path) -> None:
    files = site_authority(tmp_path)
    names = [files / "server.key", files / "server.pem", files / "ca.pem"]
    with hl7_peer(hl7_node, tls=names) as peer:
        ours = ClientTlsSection(ca=files / "ca.pem", cert=files / "client.pem", key=files / "client.key")
        known = MllpClient("localhost", peer.port, tls=client_tls(ours), timeout_s=10)
        assert check_answer(known.exchange(oru()), parse_message(oru()).control_id) == "AA"
        known.close()
        nobody = client_tls(ClientTlsSection(ca=files / "ca.pem"))
        strangers = client_tls(ClientTlsSection(cert=files / "client.pem", key=files / "client.key"))
        for context in (nobody, strangers, None):
            with pytest.raises(Transient, match="hl7-"):
                MllpClient("localhost", peer.port, tls=context, timeout_s=2).exchange(oru())


def hospital(listening: int, ris: int) -> str:
    """Settings of a hospital whose EHR takes no reports, so that they go to the RIS, and whose RIS sends messages."""
    return f"""
[delivery]
first_delay_s = 0.5
[hl7_listener]
port = {listening}
issuers = {{ "{ISSUER}" = "PHANTOM&1.2.3&ISO" }}
[[destinations]]
name = "ris"
type = "hl7v2"
host = "127.0.0.1"
port = {ris}
issuers = {{ "{ISSUER}" = "PHANTOM&1.2.3&ISO" }}
only_fallback = true
fields = {{ "ZRD-1" = "{{impression}}", "ZRD-2.2" = "{{outcome}}" }}
"""


def reading_ehr(base_url: str, http_port: int) -> str:
    """An EHR that takes no reports, and tells of those that are signed there."""
    return f"""
[[destinations]]
name = "ehr"
type = "fhir"
base_url = "{base_url}"
fallback = "ris"
issuers = {{ "{ISSUER}" = "urn:oid:1.2.3" }}
accession_system = "urn:oid:1.2.4"
signed_reports_every_s = 3600
[destinations.subscription]
endpoint = "http://127.0.0.1:{http_port}/fhir/notified/ehr"
secret = "0123456789abcdef0123456789abcdef"
"""


def order_of(image: Path) -> bytes:
    """The order of an image, before its modality has taken it."""
    header = dcmread(image, stop_before_pixels=True)
    patient = f"{header.PatientID}^^^PHANTOM&1.2.3&ISO^MR"
    return orm(control_id="M0", patient=patient, accession=str(header.AccessionNumber))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_service_talks_to_another_makers_server_and_hears_another_makers_client(
    hl7_node: Path, far_store: Store, tmp_path: Path
) -> None:
    # Reports are read and written there by people; nothing is that a draft could be written as.
    far_store.limit(
        transaction=False, types=["DiagnosticReport", "Patient", "ServiceRequest", "Subscription"]
    )
    with hl7_peer(hl7_node, "AE,AA") as peer:
        port = free_port()
        with installation(hospital(port, peer.port)) as site:
            with site.config.open("a", encoding="utf-8") as config:
                config.write(reading_ehr(far_store.base_url, site.http_port))
            site.start()
            write_phantom(tmp_path / "phantom.dcm", 9_300_000, VARIANTS[0], size_px=512)
            (taken,) = sent_by_client(hl7_node, port, [order_of(tmp_path / "phantom.dcm")])
            assert taken["code"] == "AA"
            assert [result.outcome for result in site.send([tmp_path / "phantom.dcm"])] == ["stored"]
            site.wait_until(lambda: site.all_done(1), 240, "the study to be done")
            first, second = peer.wait_for(2)
            assert (first["code"], second["code"]) == ("AE", "AA")
            assert first["raw"] == second["raw"]
            with site.book() as book:
                (study,) = book.studies()
                detail = book.study(study.study_instance_uid)
            assert detail is not None
            (sent,) = [d for d in detail.deliveries if d.destination == "ris"]
            assert (sent.kind, sent.state, sent.attempts) == ("oru", DeliveryState.DELIVERED, 2)
            (fell,) = [d for d in detail.deliveries if d.destination == "ehr"]
            assert (fell.state, fell.reason_code) == (DeliveryState.SUPERSEDED, "fell-back")
            impression, outcome = second["siteFields"]
            assert impression.startswith("AI DRAFT, UNSIGNED: ") and outcome in {*DraftOutcome}
            assert "Indication (from the order): Cough for 3 weeks" in second["raw"]
            said = second["raw"].replace("\n", "\r").encode()
            parsed = foreign_parse(
                shortened(said).decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True
            )
            assert parsed.validate()
            _hears_the_hospital(site, port, hl7_node, peer, tmp_path)
            _is_told_of_a_signature(site, far_store, tmp_path / "late.dcm")


def _hears_the_hospital(site: Installation, port: int, node: Path, peer: Hl7Peer, folder: Path) -> None:
    """A patient is merged and a report is signed; then an image comes with the number before, and one of the order."""
    number = str(dcmread(folder / "phantom.dcm", stop_before_pixels=True).PatientID)
    prior, surviving = (f"{one}^^^PHANTOM&1.2.3&ISO^MR" for one in (number, "SURVIVOR-1"))
    messages = [
        a40(prior, surviving),
        oru_of_hospital(control_id="M2", accession="SIGNED-1", patient=surviving),
    ]
    answers = sent_by_client(node, port, messages)
    assert [(a["type"], a["code"], a["controlId"]) for a in answers] == [
        ("ACK", "AA", "M1"),
        ("ACK", "AA", "M2"),
    ]
    with site.book() as book:
        flagged = reconcile_queue(book.engine, WAITING_CODES)
    assert {(item.destination, item.code) for item in flagged} == {
        ("archive", "patient-merged"),
        ("ris", "patient-merged"),
    }
    late, signed = folder / "late.dcm", folder / "signed.dcm"
    for seed, path, accession in ((9_300_001, late, "LATE-1"), (9_300_002, signed, "SIGNED-1")):
        write_phantom(path, seed, VARIANTS[0], size_px=512)
        image = dcmread(path)
        image.PatientID, image.AccessionNumber = number, accession
        image.save_as(path)
        assert [result.outcome for result in site.send([path])] == ["stored"]
    site.wait_until(lambda: site.all_done(3), 240, "the late studies to be done")
    # The one that nobody has signed went out with the number that stands, the other went nowhere.
    (told,) = peer.wait_for(3)[2:]
    assert (told["patient"], told["accession"]) == ("SURVIVOR-1", "LATE-1")
    reports = [dcmread(path, stop_before_pixels=True) for path in site.results.rglob("*_sr.dcm")]
    assert sorted(str(each.PatientID) for each in reports) == sorted([number, "SURVIVOR-1"])
    with site.book() as book:
        detail = book.study(str(dcmread(signed, stop_before_pixels=True).StudyInstanceUID))
    assert detail is not None and detail.final_report is not None
    assert {d.reason_code for d in detail.deliveries} == {"report-signed"}
    log = (site.folder / "service.log").read_text(errors="replace")
    assert "hl7_message_taken" in log
    assert not [word for word in (number, "SURVIVOR-1", "SIGNED-1", "pleural", "Smith") if word in log]


def _is_told_of_a_signature(site: Installation, ehr: Store, image: Path) -> None:
    """A report is signed at the EHR, under the number that stands; it tells of it, and the study is closed."""
    subject = patient(ehr, "SURVIVOR-1")
    report(ehr, subject, basedOn=[order(ehr, subject, "LATE-1")])
    study_uid = str(dcmread(image, stop_before_pixels=True).StudyInstanceUID)

    def is_closed() -> bool:
        with site.book() as book:
            detail = book.study(study_uid)
        return detail is not None and detail.final_report is not None

    site.wait_until(is_closed, 60, "the EHR's word that the report is signed")
    (subscription,) = ehr.search("Subscription")
    assert subscription["status"] == "active"
    # Nothing of a draft was written there.
    assert all(each["status"] == "final" for each in ehr.search("DiagnosticReport"))
